"""Trackers, and what they keep when a run goes on."""

import json
import sys

import pytest

from ofacore.components.trackers import Jsonl, TensorBoard, TrackerError, WandB
from ofacore.protocols import Record


def steps(folder):
    return [
        json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]


def test_jsonl_drops_what_lies_beyond_the_resumed_step(tmp_path):
    tracker = Jsonl(tmp_path, {})
    for step in (10, 20, 30):
        tracker.log(Record(step, {"train/a/y": 0.5}))
    tracker.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "trai')
    again = Jsonl(tmp_path, {"resume_step": 20})
    again.log(Record(30, {"valid/a/loss": 1.0}))
    again.close()
    assert steps(tmp_path) == [10, 20, 30]
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1]) == {
        "step": 30,
        "valid/a/loss": 1.0,
    }


def test_a_new_run_in_an_old_folder_starts_over(tmp_path):
    for _ in range(2):
        tracker = Jsonl(tmp_path)
        tracker.log(Record(1, {}))
        tracker.close()
    assert steps(tmp_path) == [1]


def test_tensorboard_can_be_read_back(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for resume, logged in ((0, (1, 2, 3)), (2, (3, 4))):
        tracker = TensorBoard(tmp_path, {"resume_step": resume})
        for step in logged:
            tracker.log(Record(step, {"train/a/y": step + resume / 10}))
        tracker.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    found = [(event.step, round(event.value, 3)) for event in events.Scalars("train/a/y")]
    assert found == [(1, 1.0), (2, 2.0), (3, 3.2), (4, 4.2)]


def test_missing_wandb_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(TrackerError, match="pip install wandb"):
        WandB(tmp_path, {})


def test_nothing_is_written_before_the_first_record(tmp_path):
    for tracker in (Jsonl(tmp_path / "run"), TensorBoard(tmp_path / "run")):
        tracker.close()
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(TrackerError, match="metrics.jsonl cannot be written"):
        Jsonl(tmp_path / "run").log(Record(1, {}))
