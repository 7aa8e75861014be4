"""Which validation is best, where several tasks have metrics of their own."""

from __future__ import annotations

import math
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from ofacore.config.train_section import CheckpointConfig, ValidationConfig
from ofacore.training.callbacks.joined_metrics import JoinedMetrics
from ofacore.training.callbacks.validation import Validation


def test_a_share_counts_as_it_is_and_an_error_as_what_it_lacks() -> None:
    joined = JoinedMetrics({"valid/a/accuracy": True, "valid/b/wer": False})
    assert joined({"valid/a/accuracy": 0.4, "valid/b/wer": 0.9}) == pytest.approx(0.25)
    assert joined({"valid/a/accuracy": 0.8, "valid/b/wer": 0.2}) == pytest.approx(0.8)
    assert joined.told == "mean of a/accuracy, b/wer"


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_numbers_without_an_end_count_by_how_far_they_came_whatever_their_unit(
    scale: float,
) -> None:
    joined = JoinedMetrics({"valid/a/mae": False})
    points = [joined({"valid/a/mae": value * scale}) for value in (40.0, 20.0, 60.0, 4.0)]
    assert points[0] == 0.5 and points[3] > points[1] > points[0] > points[2] > 0
    assert points[1] == pytest.approx(1 / (1 + math.exp(-0.5)))


def test_without_metrics_there_are_no_points_and_one_that_is_missing_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert JoinedMetrics()({"valid/a/b/loss": 1.0}) is None
    assert JoinedMetrics({}, {"valid/a/f1": 0.5})({"valid/a/b/loss": 1.0}) is None
    joined = JoinedMetrics({"valid/a/f1": True})
    assert joined({"valid/a/f1": 0.5}) == 0.5
    assert math.isnan(joined({"valid/a/b/loss": 1.0}) or 0.0)
    assert "valid/a/f1 was not measured" in caplog.text


def test_what_was_best_by_the_loss_counts_no_more_once_there_are_metrics() -> None:
    joined = JoinedMetrics({"valid/a/accuracy": True})
    validation = Validation(dict, ValidationConfig(every=1), CheckpointConfig(), joined=joined)
    validation.load_state({"best": 0.2, "waited": 1, "validated": 4})
    assert validation.by == "mean validation loss"
    assert validation.score({"valid/a/accuracy": 0.1, "valid/a/b/loss": 0.1}) == 0.1
    assert validation.best is None and validation.higher and validation.by == "a/accuracy"
    again = Validation(dict, ValidationConfig(every=1), CheckpointConfig())
    again.load_state(validation.state())
    assert again.by == "a/accuracy" and again.joined.first == {"valid/a/accuracy": 0.1}


def test_the_best_is_told_by_the_number_of_its_metric_not_by_its_points() -> None:
    measured = iter([40.0, 20.0])
    validation = Validation(
        lambda step: {"valid/a/mae": next(measured)},
        ValidationConfig(every=1),
        CheckpointConfig(),
        joined=JoinedMetrics({"valid/a/mae": False}),
    )
    trainer: Any = SimpleNamespace(evaluating=nullcontext, stop=SimpleNamespace(reason=""))
    for step in (1, 2):
        report: Any = SimpleNamespace(step=step)
        validation.on_step(trainer, report)
    assert validation.by == "a/mae" and validation.shown == 20.0
    assert validation.best is not None and 0.5 < validation.best < 1


def test_metrics_are_measured_where_there_is_a_choice_among_checkpoints() -> None:
    assert ValidationConfig(every=5).measures and not ValidationConfig().measures
    assert not ValidationConfig(every=5, generate=False).measures
    assert ValidationConfig(generate=True).measures
