"""Every check of a generator finds the fault that it is for, and says what to do."""

from __future__ import annotations

import pytest

from ofa_kit import GeneratorConformance
from ofa_kit.declaration import DeclarationChecks
from ofacore.plugin import CONTRACT, ComponentManifest
from tests.kit.faulty import generators
from tests.kit.faulty.touch import MANIFEST, component, touch


class Good(GeneratorConformance):
    plugin = MANIFEST
    generator = "touch"
    values = [[0.1, 0.5, 0.9, 0.4]]


CASES = {
    "uses_the_session_protocol_alone": [
        (generators.Pries, "session._cache, .*it has begin_segment, commit")
    ],
    "answers_every_row_in_order": [
        (generators.AnswersOne, "1 results for 4 rows"),
        (generators.GivesTensors, "give a numpy array"),
    ],
    "n_best_is_respected": [
        (generators.WorstFirst, "put the best first"),
        (generators.AlwaysThree, "return options"),
    ],
    "same_seed_same_values": [(generators.OwnDice, "row_generators.requests.")],
    "options_are_left_as_they_are": [(generators.Remembers, "keep nothing on the instance")],
    "rows_do_not_see_each_other": [
        (generators.Compares, "treat rows separately"),
        (generators.OneDice, "row_generators.requests."),
    ],
    "lengths_are_respected": [(generators.TooLong, "use spec.length")],
    "values_can_be_decoded": [(generators.Scalars, "cannot be decoded: .*the preprocessor")],
    "session_goes_on_behind_the_value": [(generators.Forgets, "commit the best candidate")],
}
FLAT = [(check, *case) for check, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(
    ("check", "kind", "message"), FLAT, ids=[f"{c}-{k.__name__}" for c, k, _ in FLAT]
)
def test_a_fault_is_found_by_its_check(check, kind, message):
    suite = type("Faulty", (Good,), {"plugin": touch(generator=kind)})()
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        getattr(suite, f"test_{check}")(suite.bench())


def starts(kind):
    plugin = ComponentManifest("starts", CONTRACT, (component("generator", kind),))
    return type(
        "Starts", (GeneratorConformance,), {"plugin": plugin, "generator": "touch", "slot": "PROBE"}
    )()


def test_a_run_that_begins_otherwise_is_found():
    right, wrong = starts(generators.TokenGenerator), starts(generators.BeginsByItself)
    right.test_begins_runs_as_the_session_says(right.bench())
    with pytest.raises(
        AssertionError, match=r"should begin with the tokens .* began with .*begin_run"
    ):
        wrong.test_begins_runs_as_the_session_says(wrong.bench())


def test_a_generator_without_fault_passes():
    suite = Good()
    bench = suite.bench()
    for check in CASES:
        getattr(suite, f"test_{check}")(bench)


def test_every_check_has_a_faulty_generator():
    own = set(dir(GeneratorConformance)) - set(dir(DeclarationChecks))
    found = {name.removeprefix("test_") for name in own if name.startswith("test_")}
    assert found == set(CASES) | {"begins_runs_as_the_session_says"}
