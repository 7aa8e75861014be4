"""What every plugin passes: each fault of a manifest, a kind, a row transform or a command is found and explained."""

from __future__ import annotations

from typing import Protocol

import pytest

from ofa_kit import PluginConformance
from ofacore.plugin import CONTRACT, CommandManifest, Component, ComponentManifest, Kind

HERE = __name__
NOT_CALLABLE = 3


class Aggregator(Protocol):
    """A kind of its own."""

    def add(self, values):
        """Takes values."""

    def total(self):
        """Their sum."""


class Sum:
    def __init__(self, options):
        self.seen = 0

    def add(self, values):
        self.seen += sum(values)

    def total(self):
        return self.seen


class Half(Sum):
    """As `Sum`, but it inherits nothing that it needs."""


class NoTotal:
    def __init__(self, options):
        pass

    def add(self, values):
        """Takes values."""


class NoCall:
    def __init__(self, options):
        pass


def same(row, slots, ctx, measure):
    """Changes nothing."""
    return row


def command():
    """Does nothing."""


def plugin(target="Sum", transform="same", protocol="Aggregator"):
    return ComponentManifest(
        "sums",
        CONTRACT,
        (
            Component("merger", "sum", f"{HERE}:{target}"),
            Component("row_transform", "same", f"{HERE}:{transform}"),
        ),
        kinds=(Kind("merger", f"{HERE}:{protocol}", "Adds up."),),
    )


def called(target):
    return CommandManifest("sum", CONTRACT, f"{HERE}:{target}", "Adds up.")


def suite(manifest):
    return type("Tried", (PluginConformance,), {"plugin": manifest})()


CASES = [
    (
        "components_have_what_their_protocol_asks",
        plugin("NoTotal"),
        "merger 'sum' has no total: its protocol",
    ),
    (
        "components_have_what_their_protocol_asks",
        plugin(transform="NoCall"),
        "row_transform 'same' has no __call__",
    ),
    ("names_resolve", plugin("Gone"), "the merger 'sum': .* cannot be imported"),
    (
        "names_resolve",
        plugin(protocol="Gone"),
        "the protocol of the kind 'merger': .* cannot be imported",
    ),
    ("names_resolve", called("gone"), "the command 'sum': .* cannot be imported"),
    (
        "names_resolve",
        called("NOT_CALLABLE"),
        "cannot be called; name a Typer application or a function",
    ),
]


@pytest.mark.parametrize(("check", "manifest", "message"), CASES)
def test_a_fault_is_found_by_its_check(check, manifest, message):
    with pytest.raises((AssertionError, pytest.fail.Exception), match=message):
        getattr(suite(manifest), f"test_{check}")()


@pytest.mark.parametrize("manifest", [plugin(), plugin("Half"), called("command")])
def test_a_plugin_without_fault_passes(manifest):
    for check in dict.fromkeys(check for check, *_ in CASES):
        getattr(suite(manifest), f"test_{check}")()
