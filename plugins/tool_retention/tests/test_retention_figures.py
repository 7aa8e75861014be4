"""What is said of scores, against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_retention.figures import _clears, _normalised, _pair, _ratio
from ofa_retention.paired import ROUNDS, drawn_together, limits, over_seeds, over_tasks


def scores(values, names=None):
    names = names or [f"r{i}" for i in range(len(values))]
    return {"items": dict(zip(names, values, strict=True))}


def test_models_are_compared_on_the_same_drawn_rows():
    """A constant distance of every row stays that in every draw: unpaired draws would spread it."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=40)
    alone, whole = drawn_together([scores(rows), scores(rows + 0.25)])
    np.testing.assert_allclose(whole - alone, 0.25)
    assert limits(alone)[0] < rows.mean() < limits(alone)[1]
    assert len(alone) == ROUNDS


def test_rows_that_one_model_lacks_count_for_none():
    alone, whole = drawn_together([scores([1, 1, 0], ["a", "b", "c"]), scores([1, 1], ["b", "a"])])
    assert set(alone) == set(whole) == {1.0}


def test_the_interval_of_a_mean_is_as_wide_as_theory_says():
    rows = np.random.default_rng(1).normal(size=400)
    low, high = limits(drawn_together([scores(rows)])[0])
    expected = 2 * 1.96 * rows.std() / np.sqrt(len(rows))
    assert high - low == pytest.approx(expected, rel=0.1)


def test_scores_of_draws_are_paired_by_place_and_may_be_missing():
    alone, whole = drawn_together([{"draws": [1.0, None, 3.0]}, {"draws": [2.0, 5.0, 4.0]}])
    difference = whole - alone
    assert set(difference[np.isfinite(difference)]) == {1.0}
    assert np.isnan(drawn_together([{"draws": [1.0]}, scores([1.0])])[0]).all()


def test_errors_are_negated():
    """An error of 2 beside the specialist's 1, where the baseline makes 5: three of four steps, half as good."""
    assert float(_normalised(-1.0, -2.0, -5.0)) == pytest.approx(0.75)
    assert float(_ratio(-1.0, -2.0, -1.0)) == pytest.approx(0.5)
    assert float(_normalised(0.8, 0.7, 0.2)) == pytest.approx(5 / 6)
    assert float(_ratio(0.8, 0.6, 1.0)) == pytest.approx(0.75)


def test_a_score_below_zero_is_no_error():
    """A correlation of -0.1 is -1/5 of the specialist's 0.5, not -5 times as good."""
    baseline = {**scores([0.0]), "score": 0.0}
    alone = {**scores([0.5]), "score": 0.5, "baseline": baseline}
    whole = {**scores([-0.1]), "score": -0.1, "baseline": baseline}
    assert set(np.round(_pair(alone, whole, 1.0).ratio, 6)) == {-0.2}


def test_without_room_above_the_baseline_nothing_is_said():
    assert np.isnan(_normalised(0.2, 0.9, 0.2)) and np.isnan(_ratio(0.0, 0.5, 1.0))


def test_a_specialist_gains_what_rows_drawn_anew_confirm():
    baseline = {**scores([0, 0, 0, 0]), "score": 0.0}
    once = {**scores([1, 0, 0, 0]), "score": 0.25, "baseline": baseline}
    thrice = {**scores([1, 1, 1, 0]), "score": 0.75, "baseline": baseline}
    pair = _pair(once, thrice, 1.0)
    assert not _clears([pair], 0) and _clears([pair], 1)
    assert _clears([], 0) is None


def test_means_spread_over_seeds_and_tasks():
    flat = [np.full(ROUNDS, value) for value in (0.8, 1.0)]
    rng = np.random.default_rng(0)
    assert set(np.round(over_seeds(flat, rng), 6)) == {0.8, 0.9, 1.0}
    means = over_tasks([flat, [draw + 0.2 for draw in flat]])
    assert means.mean() == pytest.approx(1.0, abs=0.02)
    assert means.min() == pytest.approx(0.8) and means.max() == pytest.approx(1.2)
