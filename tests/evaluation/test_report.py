"""Intervals, verdicts and the page that a run ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ofacore.evaluation.bootstrap import interval, resampled
from ofacore.evaluation.predictions import Prediction
from ofacore.evaluation.report import Sample, ScoreRow
from ofacore.evaluation.results import read_predictions, read_samples, write_results
from ofacore.evaluation.runner import Evaluation
from ofacore.evaluation.samples import plain_samples
from ofacore.evaluation.scoring import Judged, score
from ofacore.plugin import MetricUse, Registry


def row(
    score: float, low: float, high: float, baseline: float | None, higher: bool = True
) -> ScoreRow:
    return ScoreRow("task", "metric", score, low, high, baseline, "majority", 100, higher)


def test_the_interval_of_a_mean_covers_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(200):
        low, high = interval(rng.random(80) < 0.3, rounds=300, seed=seed)
        hits += low <= 0.3 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_a_score_computed_anew_has_the_interval_of_its_mean() -> None:
    items = np.random.default_rng(1).random(100)
    found = resampled(lambda picked: {"mean": float(items[list(picked)].mean())}, 100, rounds=800)
    assert found["mean"] == pytest.approx(interval(items, rounds=800), abs=0.02)


def test_a_score_that_some_draws_lack_has_the_interval_of_the_others() -> None:
    def scores(picked: Sequence[int]) -> dict[str, float]:
        return {"of all": 1.0} | ({"of the first": float(picked.count(0))} if 0 in picked else {})

    found = resampled(scores, 3, rounds=200)
    assert found["of all"] == (1.0, 1.0) and found["of the first"] == (1.0, 3.0)


def test_every_number_of_a_metric_has_an_interval() -> None:
    rows = [
        {"b": text} for text in ("the red cat", "a dog", "one two three", "the end", "so it goes")
    ]
    predicted = [
        {"b": text} for text in ("the red dog", "a dog", "one two two", "the end", "it goes")
    ]
    use = MetricUse("rouge", "b")
    found = score(
        Judged("task", rows, predicted, rows, "itself"), use, Registry.discover(), rounds=200
    )
    assert len(found) > 1 and all(one.low < one.score < one.high for one in found)
    assert [one.baseline for one in found] == [1.0, *[None] * (len(found) - 1)]


def test_a_baseline_is_beaten_only_outside_the_interval() -> None:
    assert row(0.6, 0.5, 0.7, 0.4).beats_baseline is True
    assert row(0.6, 0.5, 0.7, 0.55).beats_baseline is False
    assert row(0.2, 0.1, 0.3, 0.4, higher=False).beats_baseline is True
    assert row(0.6, 0.5, 0.7, None).beats_baseline is None


def test_a_verdict_tells_worse_from_what_the_rows_cannot_tell() -> None:
    assert row(0.6, 0.5, 0.7, 0.4).verdict == "better"
    assert row(0.6, 0.5, 0.7, 0.55).verdict == row(0.6, 0.5, 0.7, 0.7).verdict == "not told apart"
    assert row(0.6, 0.5, 0.7, 0.8).verdict == "worse"
    assert row(0.6, 0.5, 0.7, 0.4, higher=False).verdict == "worse"
    assert (
        row(0.6, float("nan"), float("nan"), 0.4).verdict == row(0.6, 0.5, 0.7, None).verdict == ""
    )


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [(9, 9, 0.7009, 1.0), (0, 10, 0.0, 0.2775), (15, 50, 0.1910, 0.4375), (1, 1, 0.2065, 1.0)],
)
def test_a_share_has_wilsons_interval(right: int, of: int, low: float, high: float) -> None:
    items = [1.0] * right + [0.0] * (of - right)
    assert interval(items) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("of", [1, 3, 106, 300])
def test_none_right_is_not_above_none_and_all_right_not_below_all(of: int) -> None:
    assert interval([0.0] * of)[0] == 0.0 and interval([1.0] * of)[1] == 1.0
    assert row(0.0, *interval([0.0] * of), 0.0).beats_baseline is False


def test_a_row_tells_of_how_many_rows_it_is() -> None:
    one = row(0.6, 0.5, 0.7, None)
    assert one.rows == "100" and replace(one, left_out=2).rows == "100 (2 left out)"
    assert replace(one, samples=298, left_out=2, available=2000).rows == "298 of 2,000 (2 left out)"
    assert replace(one, samples=98, left_out=2, available=100).rows == "98 (2 left out)"


def test_samples_read_as_plain_lines() -> None:
    sample = Sample(
        "task", "[TEXT:a] -> [TEXT:b]", "<b>a</b> <img src='data:,xx'>", "<b>b</b> 1 &lt; 2", "3"
    )
    assert list(plain_samples([sample]))[1:] == [
        "  in   a (picture)",
        "  out  b 1 < 2   (reference: 3)",
    ]


def test_texts_with_any_kind_of_line_break_are_read_back(tmp_path: Path) -> None:
    text = "one\u2028two\u2029three\x85four\nfive\r\n"
    answered = Prediction("rows.csv:2", {"cap": text}, {"cap": text})
    shown = Sample("t", "-> [TEXT:cap]", "", text, text, "")
    write_results(tmp_path, [Evaluation("t", [], [shown], predictions=[answered, answered])])
    assert read_predictions(tmp_path) == {"t": [answered, answered]}
    assert read_samples(tmp_path) == {"t": [shown]}
