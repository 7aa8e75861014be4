"""Every check of a schedule finds the fault that it is for, and says what to do."""

from __future__ import annotations

import pytest

from ofa_kit import ScheduleConformance
from ofa_kit.declaration import DeclarationChecks
from ofacore.plugin import CONTRACT, ComponentManifest
from tests.kit.faulty import schedules
from tests.kit.faulty.touch import component


def manifest(kind):
    return ComponentManifest("turns", CONTRACT, (component("schedule", kind),))


class Good(ScheduleConformance):
    plugin = manifest(schedules.Turns)
    schedule = "touch"
    shares = {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}


CASES = {
    "is_pure_in_seed_and_step": [(schedules.Counts, "must be pure"), (schedules.Rolls, "Philox")],
    "counts_sum_to_the_samples": [
        (schedules.Rounds, "largest remainder"),
        (schedules.Halves, "no whole numbers"),
    ],
    "names_known_tasks_alone": [
        (schedules.Invents, "draw from `tasks`"),
        (schedules.DrawsFromNothing, "without rows or of weight 0"),
    ],
    "copes_with_a_single_task": [(schedules.NeedsTwo, "of the single task 'a'")],
    "no_task_starves": [(schedules.Starves, r"\['b', 'c'\] are never drawn")],
    "keeps_its_shares": [(schedules.Starves, "gets 1.000 of the samples .* not 0.333")],
    "is_equal_on_every_rank": [(schedules.KnowsRank, "no rank")],
}
FLAT = [(check, *case) for check, cases in CASES.items() for case in cases]


def run(suite, check, request):
    arguments = (
        [request.getfixturevalue("run_distributed")] if check == "is_equal_on_every_rank" else []
    )
    getattr(suite, f"test_{check}")(*arguments)


@pytest.mark.parametrize(
    ("check", "kind", "message"), FLAT, ids=[f"{c}-{k.__name__}" for c, k, _ in FLAT]
)
def test_a_fault_is_found_by_its_check(check, kind, message, request):
    suite = type("Faulty", (Good,), {"plugin": manifest(kind)})()
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        run(suite, check, request)


@pytest.mark.parametrize("check", CASES)
def test_a_schedule_without_fault_passes(check, request):
    run(Good(), check, request)


def test_undeclared_options_are_named():
    suite = type("Faulty", (Good,), {"options": {"speed": 1}})()
    with pytest.raises(AssertionError, match=r"\['speed'\] are not declared"):
        suite.test_can_be_built_from_declared_options()


def test_every_check_has_a_faulty_schedule():
    own = set(dir(ScheduleConformance)) - set(dir(DeclarationChecks))
    checks = {name.removeprefix("test_") for name in own if name.startswith("test_")}
    assert checks == set(CASES) | {"can_be_built_from_declared_options"}
