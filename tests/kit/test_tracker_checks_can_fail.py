"""Every check of a tracker finds the fault that it is for, and says what to do."""

from __future__ import annotations

import copy

import pytest

import ofa_kit.tracker
from ofa_kit import TrackerConformance
from ofa_kit.declaration import DeclarationChecks
from ofacore.plugin import CONTRACT, ComponentManifest
from tests.kit.faulty import trackers
from tests.kit.faulty.touch import component


def manifest(kind):
    return ComponentManifest("pages", CONTRACT, (component("tracker", kind),))


class Good(TrackerConformance):
    plugin = manifest(trackers.Page)
    tracker = "touch"


CASES = {
    "takes_every_figure": [(trackers.WholeNumbers, "nan.* raised ValueError")],
    "goes_on": [(trackers.OnceOnly, "goes on from step 2 it raised FileExistsError")],
    "leaves_the_run_alone": [
        (trackers.Samples, "global random numbers"),
        (trackers.Rounds, "changed the records of steps"),
    ],
}
FLAT = [(check, *case) for check, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(
    ("check", "kind", "message"), FLAT, ids=[f"{c}-{k.__name__}" for c, k, _ in FLAT]
)
def test_a_fault_is_found_by_its_check(check, kind, message, tmp_path, monkeypatch):
    monkeypatch.setattr(ofa_kit.tracker, "RECORDS", copy.deepcopy(ofa_kit.tracker.RECORDS))
    suite = type("Faulty", (Good,), {"plugin": manifest(kind)})()
    with pytest.raises((AssertionError, pytest.fail.Exception), match=f"(?s){message}"):
        getattr(suite, f"test_{check}")(tmp_path)


@pytest.mark.parametrize("check", CASES)
def test_a_tracker_without_fault_passes(check, tmp_path):
    getattr(Good(), f"test_{check}")(tmp_path)


def test_undeclared_options_are_named(tmp_path):
    suite = type("Faulty", (Good,), {"options": {"speed": 1}})()
    with pytest.raises(AssertionError, match=r"\['speed'\] are not declared"):
        suite.test_can_be_built_from_declared_options(tmp_path)


def test_every_check_has_a_faulty_tracker():
    own = set(dir(TrackerConformance)) - set(dir(DeclarationChecks))
    checks = {name.removeprefix("test_") for name in own if name.startswith("test_")}
    assert checks == set(CASES) | {"can_be_built_from_declared_options"}
