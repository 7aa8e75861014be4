"""Every check of an aggregator finds the fault that it is for, and says what to do."""

from __future__ import annotations

import pytest

from ofa_kit import AggregatorConformance
from ofa_kit.declaration import DeclarationChecks
from ofacore.plugin import CONTRACT, ComponentManifest
from tests.kit.faulty import aggregators
from tests.kit.faulty.touch import component


def manifest(kind):
    return ComponentManifest("means", CONTRACT, (component("aggregator", kind),))


class Good(AggregatorConformance):
    plugin = manifest(aggregators.Mean)
    aggregator = "touch"


CASES = {
    "gives_gradients_of_the_parameters": [
        (aggregators.Renames, "'model.layer.weight', which is no trained parameter"),
        (aggregators.Flattens, r"a gradient of shape \(12,\)"),
    ],
    "copes_with_a_single_task": [(aggregators.TurnsBack, "cosine of -1.000")],
    "copes_with_tasks_that_learn_nothing": [(aggregators.Normalises, "that is not finite")],
    "tasks_may_come_and_go": [(aggregators.WantsAll, "no mapping from parameters")],
    "is_the_same_for_the_same_steps": [(aggregators.Rolls, "draw every number from ctx.rng")],
    "leaves_parameters_alone": [(aggregators.Steps, "it changed the parameters")],
    "goes_on_as_it_was": [
        (aggregators.Forgets, "put all that it learns into state"),
        (aggregators.KeepsTensors, "what JSON cannot hold"),
    ],
    "is_equal_on_every_rank": [(aggregators.KnowsRank, "ranks make different gradients")],
}
FLAT = [(check, *case) for check, cases in CASES.items() for case in cases]


def run(suite, check, request):
    arguments = []
    if check == "is_equal_on_every_rank":
        arguments = [request.getfixturevalue("run_distributed")]
    getattr(suite, f"test_{check}")(*arguments)


@pytest.mark.parametrize(
    ("check", "kind", "message"), FLAT, ids=[f"{c}-{k.__name__}" for c, k, _ in FLAT]
)
def test_a_fault_is_found_by_its_check(check, kind, message, request):
    suite = type("Faulty", (Good,), {"plugin": manifest(kind)})()
    with pytest.raises((AssertionError, pytest.fail.Exception), match=f"(?s){message}"):
        run(suite, check, request)


@pytest.mark.parametrize("check", CASES)
def test_an_aggregator_without_fault_passes(check, request):
    run(Good(), check, request)


def test_undeclared_options_are_named():
    suite = type("Faulty", (Good,), {"options": {"speed": 1}})()
    with pytest.raises(AssertionError, match=r"\['speed'\] are not declared"):
        suite.test_can_be_built_from_declared_options()


def test_every_check_has_a_faulty_aggregator():
    own = set(dir(AggregatorConformance)) - set(dir(DeclarationChecks))
    checks = {name.removeprefix("test_") for name in own if name.startswith("test_")}
    assert checks == set(CASES) | {"can_be_built_from_declared_options"}
