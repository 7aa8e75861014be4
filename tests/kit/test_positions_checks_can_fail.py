"""Every check of a position scheme finds the fault that it is for, and says what to do."""

from __future__ import annotations

import pytest

from ofa_kit import PositionsConformance
from ofacore.plugin import CONTRACT, ComponentManifest
from tests.kit.faulty import schemes
from tests.kit.faulty.touch import component


def manifest(kind):
    return ComponentManifest("steps", CONTRACT, (component("positions", kind),))


class Good(PositionsConformance):
    plugin = manifest(schemes.Steps)
    positions = "touch"


CASES = {
    "has_every_member": [(schemes.LacksRotation, "lacks `rotation`; write it, or inherit")],
    "answers_have_the_promised_shapes": [
        (schemes.BeyondItsTable, "indices from 5 to 9 .* a table of 9|clamp distances"),
        (schemes.OneHead, r"table of layer 0 is float32 \[9, 1\]; expected \[rows, 2\]"),
        (schemes.WholeTurns, "rotation gave float32 .* expected complex64"),
        (schemes.Short, r"states\('encoder'\) gave float32 \[1, 32\]; expected \[5, 32\]"),
    ],
    "knows_the_order": [(schemes.Blind, "attention does not see places")],
    "is_independent_of_padding_and_of_other_sequences": [
        (schemes.CountsTheRow, "other states .* than alone")
    ],
    "decoding_step_by_step_equals_one_pass": [
        (schemes.CountsQueries, "differ by .* from one pass over all")
    ],
    "every_parameter_learns": [(schemes.NeverAsked, "no gradient reaches spare")],
}
FLAT = [(check, *case) for check, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(
    ("check", "kind", "message"), FLAT, ids=[f"{c}-{k.__name__}" for c, k, _ in FLAT]
)
def test_a_fault_is_found_by_its_check(check, kind, message):
    suite = type("Faulty", (Good,), {"plugin": manifest(kind)})()
    with pytest.raises((AssertionError, pytest.fail.Exception), match=f"(?s){message}"):
        getattr(suite, f"test_{check}")(suite.bench())


@pytest.mark.parametrize("check", CASES)
def test_what_has_no_fault_passes(check):
    suite = Good()
    getattr(suite, f"test_{check}")(suite.bench())


def test_every_check_has_a_fault():
    own = {
        name.removeprefix("test_")
        for name in vars(PositionsConformance)
        if name.startswith("test_")
    }
    assert own == set(CASES)
