"""Every check of a metric finds the fault that it is for, and says what to do."""

from __future__ import annotations

import pytest

from ofa_kit import MetricConformance
from ofa_kit.declaration import DeclarationChecks
from ofacore.plugin import CONTRACT, ComponentManifest
from tests.kit.faulty import metrics
from tests.kit.faulty.touch import component


def manifest(kind):
    return ComponentManifest("closeness", CONTRACT, (component("metric", kind),))


class Good(MetricConformance):
    plugin = manifest(metrics.Closeness)
    metric = "touch"
    predictions = [3.0, 1.0, 2.0, 5.0, 4.5]
    references = [1.0, 1.5, 2.0, 4.0, 4.0]


CASES = {
    "declares_its_direction": [(metrics.NoDirection, "set it to True or False")],
    "says_what_it_judges": [
        (metrics.OddNeeds, "needs = 'logits'; 'log_probs', 'candidates'"),
        (metrics.NoColumn, "the name of their column as `candidates`"),
        (metrics.OddColumn, "reference_column is 3; give the name of a column"),
    ],
    "can_be_built_from_declared_options": [
        (metrics.UndeclaredOption, "KeyError.'unit'.*declare every option")
    ],
    "values_are_numbers_by_name": [(metrics.Texts, "Python floats")],
    "merge_equals_whole": [(metrics.MergesMeans, "add up sums and counts in merge")],
    "merging_nothing_changes_nothing": [
        (metrics.ForgetsOnEmptyMerge, "instances that saw nothing")
    ],
    "order_does_not_matter": [(metrics.LastCounts, "samples in reverse order")],
    "empty_is_no_error": [(metrics.NothingRaises, "ZeroDivisionError.*return nan")],
    "compute_can_be_repeated": [(metrics.Pops, "may not change what was collected")],
    "faultless_predictions_score_best": [(metrics.WrongDirection, "turn it round")],
    "items_are_one_a_sample": [(metrics.OneItem, "1 numbers for 5 samples")],
    "what_it_is_given_is_left_as_it_is": [(metrics.Sorts, "copy before changing")],
    "can_be_sent_to_another_process": [(metrics.HoldsLambda, "keep plain data")],
}
FLAT = [(check, *case) for check, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(
    ("check", "kind", "message"), FLAT, ids=[f"{c}-{k.__name__}" for c, k, _ in FLAT]
)
def test_a_fault_is_found_by_its_check(check, kind, message):
    suite = type("Faulty", (Good,), {"plugin": manifest(kind)})()
    with pytest.raises((AssertionError, pytest.fail.Exception), match=f"(?s){message}"):
        getattr(suite, f"test_{check}")()


@pytest.mark.parametrize("check", CASES)
def test_a_metric_without_fault_passes(check):
    getattr(Good(), f"test_{check}")()


def test_every_check_has_a_faulty_metric():
    own = set(dir(MetricConformance)) - set(dir(DeclarationChecks))
    assert {name.removeprefix("test_") for name in own if name.startswith("test_")} == set(CASES)


def test_too_few_samples_are_refused():
    suite = type("Few", (Good,), {"predictions": [1.0], "references": [1.0]})()
    with pytest.raises(pytest.fail.Exception, match="at least four predictions"):
        suite.test_merge_equals_whole()
