"""Every check of a criterion finds the fault that it is for, and says what to do."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_kit import CriterionConformance
from ofa_kit.declaration import DeclarationChecks
from tests.kit.faulty import criteria
from tests.kit.faulty.touch import MANIFEST, touch


class Good(CriterionConformance):
    plugin = MANIFEST
    criterion = "touch"
    width = 3

    def labels(self, length, item, rng):
        return {"numbers": rng.standard_normal(length).astype(np.float32)}


CASES = {
    "declares_scope_and_needs": [
        (criteria.NoScope, "has no `scope`"),
        (criteria.OddScope, "take one of position, segment, step"),
        (criteria.OddNeeds, "magic.*attention, rollout"),
        (criteria.Couples, "batch_coupled = True, its Component False"),
    ],
    "can_be_built_from_declared_options": [
        (criteria.UndeclaredOption, "KeyError.'unit'.*declare every option")
    ],
    "names_layers_of_attention": [
        (criteria.LayersWithoutNeed, "names attention_layers, but needs = .*add 'attention'"),
        (criteria.NamesLayers, "attention_layers = .'last',.; give decoder layers"),
    ],
    "counts_from_labels_alone": [
        (criteria.CountsFloats, "whole number"),
        (criteria.CountsCalls, "use the labels alone"),
    ],
    "gives_one_sum_for_each_item": [
        (criteria.OneNumber, r"shape \(\) for 3 items; return one sum for each"),
        (criteria.Half, "compute losses in float32"),
    ],
    "sums_and_does_not_average": [(criteria.Averages, "do not take the mean")],
    "order_of_items_does_not_matter": [
        (criteria.FirstWins, "reverse order: .*split by ctx.lengths")
    ],
    "items_do_not_see_each_other": [
        (criteria.ComparesItems, "beside others than alone: .*scope = 'step'")
    ],
    "empty_item_costs_nothing": [
        (criteria.AveragesNothing, "it must be 0; a mean over nothing is nan")
    ],
    "gradient_is_finite": [(criteria.ZeroRoots, "not finite at states of zero: guard sqrt")],
    "labels_and_prediction_are_left_as_they_are": [
        (criteria.Spoils, "copy before changing in place"),
        (criteria.SpoilsLabels, "'numbers'.*copy before changing in place"),
        (criteria.TakesLabels, "had the keys .*copy before changing in place"),
    ],
    "is_deterministic": [(criteria.Rolls, "draws no random numbers")],
    "is_nearest_to_a_teacher_that_says_the_same": [
        (criteria.TaughtOnce, "one sum for each item"),
        (criteria.TaughtInHalf, "finite distances in float32"),
        (criteria.TaughtByRows, "it must be 0 there"),
        (criteria.TaughtAway, "it must be least at the teacher's own prediction"),
    ],
    "state_dict_round_trip": [(criteria.Loose, "use nn.Parameter or buffers")],
}
FLAT = [(check, *case) for check, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(
    ("check", "kind", "message"), FLAT, ids=[f"{c}-{k.__name__}" for c, k, _ in FLAT]
)
def test_a_fault_is_found_by_its_check(check, kind, message):
    suite = type("Faulty", (Good,), {"plugin": touch(criterion=kind)})()
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        getattr(suite, f"test_{check}")(suite.bench())


def test_a_criterion_that_teachers_take_part_in_passes():
    suite = type("Taught", (Good,), {"plugin": touch(criterion=criteria.Taught)})()
    suite.test_is_nearest_to_a_teacher_that_says_the_same(suite.bench())


@pytest.mark.parametrize("check", [check for check in CASES if "teacher" not in check])
def test_a_criterion_without_fault_passes(check):
    getattr(Good(), f"test_{check}")(Good().bench())


def test_every_check_has_a_faulty_criterion():
    own = {
        name.removeprefix("test_")
        for name in set(dir(CriterionConformance)) - set(dir(DeclarationChecks))
    }
    assert {name for name in own if hasattr(CriterionConformance, f"test_{name}")} == set(CASES)


def test_labels_must_be_written():
    with pytest.raises(pytest.fail.Exception, match=r"write labels\(self, length, item, rng\)"):
        CriterionConformance().labels(1, 0, np.random.default_rng(0))
