"""Every check of a router finds the fault that it is for, and says what to do."""

from __future__ import annotations

import pytest

from ofa_kit import RouterConformance
from ofa_kit.declaration import DeclarationChecks
from ofacore.plugin import CONTRACT, ComponentManifest
from tests.kit.faulty import routers
from tests.kit.faulty.touch import component


def manifest(kind):
    return ComponentManifest("ways", CONTRACT, (component("router", kind),))


class Learned(RouterConformance):
    plugin = manifest(routers.Best)
    router = "touch"


class Fixed(Learned):
    plugin = manifest(routers.ByTask)


CASES = {
    "every_position_has_experts_that_exist": [
        (routers.Beyond, "from 0 to 3"),
        (routers.Vague, "one finite number"),
    ],
    "a_position_has_different_experts": [(routers.Repeats, "choose different ones")],
    "counts_are_those_of_the_experts": [(routers.Miscounts, "counts say")],
    "needs_no_facts_of_the_host": [(routers.AsksTheHost, "without layout.facts")],
    "chooses_alike_while_a_target_is_produced": [(routers.Causal, "leave these three alone")],
    "draws_no_random_numbers_in_evaluation": [(routers.Noisy, "where self.training holds")],
    "experts_go_by_name": [(routers.TakesPlaces, "the place of its name")],
    "what_it_learns_has_gradients": [(routers.Idle, r"\['scale'\] get no gradient")],
}
FLAT = [(check, *case) for check, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(
    ("check", "kind", "message"), FLAT, ids=[f"{c}-{k.__name__}" for c, k, _ in FLAT]
)
def test_a_fault_is_found_by_its_check(check, kind, message):
    suite = type("Faulty", (Learned,), {"plugin": manifest(kind)})()
    with pytest.raises((AssertionError, pytest.fail.Exception), match=f"(?s){message}"):
        getattr(suite, f"test_{check}")()


@pytest.mark.parametrize("check", CASES)
@pytest.mark.parametrize("good", [Learned, Fixed])
def test_a_router_without_fault_passes(good, check):
    getattr(good(), f"test_{check}")()


def test_undeclared_options_are_named():
    suite = type("Faulty", (Learned,), {"options": {"speed": 1}})()
    with pytest.raises(AssertionError, match=r"\['speed'\] are not declared"):
        suite.test_can_be_built_from_declared_options()


def test_every_check_has_a_faulty_router():
    own = set(dir(RouterConformance)) - set(dir(DeclarationChecks))
    checks = {name.removeprefix("test_") for name in own if name.startswith("test_")}
    assert checks == set(CASES) | {"can_be_built_from_declared_options"}
