"""Every check of a backbone finds the fault that it is for, and says what to do."""

from __future__ import annotations

import pytest

from ofa_kit import BackboneConformance
from ofa_kit.declaration import DeclarationChecks
from ofacore.plugin import CONTRACT, Component, ComponentManifest
from tests.kit.faulty import backbones


def manifest(kind, **more):
    target = f"{kind.__module__}:{kind.__qualname__}"
    return ComponentManifest(
        "mixers", CONTRACT, (Component("backbone", "mixer", target, "Mixes.", **more),)
    )


class Good(BackboneConformance):
    plugin = manifest(backbones.Mixing)
    backbone = "mixer"


CASES = {
    "can_be_built_from_declared_options": [
        (backbones.Halved, "has no method 'decode'; write decode")
    ],
    "gives_a_state_for_each_position": [
        (backbones.Summed, r"encode gave \[1, 32\]"),
        (backbones.Empty, "not finite; a softmax over nothing"),
    ],
    "samples_do_not_see_each_other": [(backbones.Leaks, "encode: sample . gets other states")],
    "later_positions_are_not_seen": [(backbones.Peeks, "change with later ones")],
    "reads_its_own_source": [
        (backbones.Blind, "do not depend on its source"),
        (backbones.Confused, "another sample's source"),
    ],
    "order_of_positions_matters": [(backbones.Unordered, "use layout.coordinates")],
    "a_corrupted_segment_is_seen_by_itself_alone": [(backbones.Traces, "not layout.visible")],
    "gradients_reach_every_parameter": [(backbones.Idle, "spare.weight.* get no gradient")],
    "weights_are_all_there_is": [
        (backbones.Draws, "must be a parameter or a persistent buffer"),
        (backbones.Counts, "keep no state between passes"),
    ],
    "steps_equal_one_pass": [
        (backbones.Lags, "of steps differ"),
        (backbones.Peeks, "a prefix change"),
    ],
    "its_cache_does_what_is_asked": [(backbones.Forgets, "after fork")],
    "attention_is_given_as_asked": [(backbones.Attends, r"attention\[0\] has rows, L, K")],
}
FLAT = [(check, *case) for check, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(
    ("check", "kind", "message"), FLAT, ids=[f"{c}-{k.__name__}" for c, k, _ in FLAT]
)
def test_a_fault_is_found_by_its_check(check, kind, message):
    suite = type("Faulty", (Good,), {"plugin": manifest(kind)})()
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        getattr(suite, f"test_{check}")()


@pytest.mark.parametrize(
    "check",
    [c for c in CASES if c not in ("its_cache_does_what_is_asked", "attention_is_given_as_asked")],
)
def test_a_backbone_without_fault_passes(check):
    getattr(Good(), f"test_{check}")()


def test_divisions_without_members_are_found():
    suite = type("Faulty", (Good,), {"plugin": manifest(backbones.Mixing, divides=("pipeline",))})()
    with pytest.raises(AssertionError, match=r"divides=\('pipeline',\).*StagedBackbone"):
        suite.test_divisions_have_their_members()


def test_every_check_has_a_faulty_backbone():
    own = set(dir(BackboneConformance)) - set(dir(DeclarationChecks))
    checks = {name.removeprefix("test_") for name in own if name.startswith("test_")}
    assert checks == set(CASES) | {"divisions_have_their_members"}
