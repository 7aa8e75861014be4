"""Intervals, verdicts and the page that a run ends with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from ofacore.evaluation.bootstrap import interval, resampled
from ofacore.evaluation.report import Sample, ScoreRow, write_report
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


def test_the_page_shows_curves_scores_and_samples_escaped(tmp_path: Path) -> None:
    lines = [
        {"step": step, "train/task/slot": 5.0 / step, "valid/task/slot/loss": 6.0 / step}
        for step in (1, 2, 3)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    sample = Sample("task", "[TEXT:a] -> [TEXT:b]", "<img src='data:,'>", "<b>x</b> &lt;y&gt;", "z")
    page = write_report(tmp_path, "a <run>", [row(0.6, 0.5, 0.7, 0.4)], [sample]).read_text()
    assert "a &lt;run&gt;" in page and "0.600" in page and "0.500 to 0.700" in page
    polylines = [part.split('"')[0] for part in page.split('points="')[1:]]
    assert [len(points.split()) for points in polylines] == [3, 3]
    assert "http" not in page.replace("http://www.w3.org", "")


def test_samples_read_as_plain_lines() -> None:
    sample = Sample(
        "task", "[TEXT:a] -> [TEXT:b]", "<b>a</b> <img src='data:,xx'>", "<b>b</b> 1 &lt; 2", "3"
    )
    assert list(plain_samples([sample]))[1:] == [
        "  in   a (picture)",
        "  out  b 1 < 2   (reference: 3)",
    ]
