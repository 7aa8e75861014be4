"""What a person sees of a run: time left, scores with the best so far, passes over the data."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console

from ofacore.config.train_section import ValidationConfig
from ofacore.training.callbacks.progress import Progress
from ofacore.training.callbacks.run_view import RunView, Score, epochs
from ofacore.training.callbacks.time_left import TimeLeft
from ofacore.training.callbacks.tracking import Tracking
from ofacore.training.callbacks.validation import Validation
from ofacore.training.loop import Trainer
from tests.training.small import SmallModel
from tests.training.test_loop import Memory, loader, settings

SCORES = {1: 0.5, 2: 0.9, 3: 0.7}
"""Number of a validation -> accuracy."""


def predicted(total, at, every, saved, validation=3.0, checkpoint=2.0):
    """Seconds left that are told after ``at`` of ``total`` steps, and those that it takes then."""
    now = 0.0
    found = SimpleNamespace(spent=0.0, runs=0, config=SimpleNamespace(every=every, samples=64))
    written = SimpleNamespace(spent=0.0, saves=0, config=SimpleNamespace(every=saved))
    trainer = SimpleNamespace(step=0, config=SimpleNamespace(steps=total))
    left = TimeLeft(found, written, clock=lambda: now)
    left.on_start(trainer)
    told = began = 0.0
    for step in range(1, total + 1):
        seconds = 5.0 if step == 1 else 0.1 + 0.02 * (step % 3)
        now += seconds
        trainer.step = step
        left.on_step(trainer, SimpleNamespace(step=step, seconds=seconds, samples=8))
        if step == at:
            told, began = left.seconds(trainer), now
        if step % every == 0 if every else step == total:
            now += validation
            found.spent, found.runs = found.spent + validation, found.runs + 1
        if step % saved == 0:
            now += checkpoint
            written.spent, written.saves = written.spent + checkpoint, written.saves + 1
    return told, now - began


@pytest.mark.parametrize(("every", "saved"), [(20, 50), (10, 10), (25, 1000)])
def test_time_left_is_right_within_a_fifth_after_a_tenth_of_the_run(every, saved):
    told, took = predicted(1000, 100, every, saved)
    assert told == pytest.approx(took, rel=0.2)


def test_time_left_counts_what_happens_at_the_end_alone():
    told, took = predicted(200, 150, 0, 100, validation=1.0)
    assert told == pytest.approx(took, rel=0.2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of nine steps whose accuracy was best in its second validation; its lines and records."""
    stream, memory = io.StringIO(), Memory()
    config = settings(steps=9, validation=ValidationConfig(every=3))
    measured = iter(SCORES.items())

    def validate(step):
        number, accuracy = next(measured)
        losses = {"valid/a/y/loss": 1.0 / number, "valid/a/z/loss": math.nan}
        return {"valid/a/accuracy": accuracy, **losses}

    higher = {"valid/a/accuracy": True}
    validation = Validation(validate, config.validation, config.checkpoint, higher=higher)
    left, rows = TimeLeft(validation), {"a": 18}
    progress = Progress(3, stream, time_left=left, validation=validation, rows=rows)
    tracking = Tracking([memory], 3, validation=validation, time_left=left, rows=rows)
    callbacks = [left, validation, progress, tracking]
    folder = tmp_path_factory.mktemp("run")
    Trainer(SmallModel(), loader(), config, folder, callbacks).run()
    again = Validation(validate, config.validation, config.checkpoint, higher=higher)
    again.load_state(validation.state())
    return stream.getvalue().splitlines(), memory.records, validation, again


def test_scores_are_printed_with_the_best_and_its_step(run):
    lines = [line for line in run[0] if line.startswith("validation")]
    assert len(lines) == 3
    assert lines[2] == (
        "validation, step 9  a/accuracy 0.700 (best 0.900, step 6)  a/y/loss 0.333 (best 0.333, step 9)"
        "  a/z/loss nan"
    )


def test_scores_are_tracked_with_the_best_and_its_step(run):
    values = [record.values for record in run[1] if "valid/a/accuracy" in record.values]
    assert values[2]["best/a/accuracy"] == 0.9 and values[2]["best_step/a/accuracy"] == 6
    assert values[2]["best_step/a/y/loss"] == 9
    assert not [
        name for name in values[2] if "/z/" in name
    ]  # never a number, and so never the best


def test_the_best_so_far_outlives_a_resume(run):
    assert (
        run[3].bests == run[2].bests == {"valid/a/accuracy": (0.9, 6), "valid/a/y/loss": (1 / 3, 9)}
    )


def test_passes_over_the_data_are_told(run):
    assert epochs({"a": 27}, {"a": 18, "b": 5}) == {"a": 1.5, "b": 0.0}
    steps = {record.step: record.values for record in run[1] if "run/steps" in record.values}
    assert steps[9]["epoch/a"] == 0 and steps[9]["run/seconds_left"] == 0


def test_a_table_of_eighty_columns_keeps_names_whole():
    name = "compositional_grounding/box_accuracy_at_half"
    scores = {name: Score(0.5, 0.75, 12_000), "a/y/loss": Score(1, 0.9, 200)}
    view = RunView(20_000, 1_000_000, 812, 90_000, 3, {"a": 1.5}, {"a/y": 0.25}, scores, 19_000)
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    console.print(view.table())
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80 and "…" not in shown
    parts = (*name.split("/"), "12000", "0.750", "1 day, 1:00:00", "1.50")
    assert all(text in shown for text in parts)


def test_a_line_tells_passes_of_one_task_and_only_losses_of_several():
    view = RunView(2, 10, 64, 8, 0, {"a": 1.5}, {"a/y": 0.25})
    assert view.line() == "step 2/10  64 samples/s  left 0:00:08  epoch 1.50  a/y 0.250"
    several = replace(view, epochs={"a": 1.5, "b": 0.5}, losses={"a/y": 0.25, "b/y": 0.5})
    assert several.line() == "step 2/10  64 samples/s  left 0:00:08  a/y 0.250  b/y 0.500"
