"""``ofa watch`` follows a run by its file of metrics and its claim on the folder."""

from __future__ import annotations

import io
import json
import threading

import pytest
from rich.console import Console

from ofa_cli.main import main
from ofa_cli.watching import DeadRunError, watch
from ofacore.components.trackers import Jsonl
from ofacore.ground.errors import UserError
from ofacore.ground.folders import claimed
from ofacore.protocols import Record

SPEED = {"train/samples_per_second": 64.0, "run/steps": 20.0, "run/seconds_left": 75.0}
RECORDS = [
    Record(
        10, {"train/sort/kind": 0.5, "train/sort/kind/accuracy": 0.8, "epoch/sort": 1.25, **SPEED}
    ),
    Record(
        10, {"valid/sort/accuracy": 0.7, "best/sort/accuracy": 0.9, "best_step/sort/accuracy": 5.0}
    ),
    Record(20, {"train/sort/kind": 0.25, **SPEED, "run/seconds_left": 0.0}),
]
END = {"step": 20, "reason": ""}


def written(folder, records=RECORDS, end=None):
    tracker = Jsonl(folder)
    for record in records:
        tracker.log(record)
    tracker.close()
    if end is not None:
        (folder / "ended.json").write_text(json.dumps(end))
    return folder


def watched(folder, **options):
    console = Console(file=io.StringIO(), width=80, soft_wrap=True)
    return watch(folder, console, **options), console.file.getvalue().splitlines()


def test_a_run_that_has_ended_is_told_whole(tmp_path):
    _, lines = watched(written(tmp_path, end=END))
    assert lines == [
        "step 10/20  64 samples/s  left 0:01:15  epoch 1.25  sort/kind 0.500",
        "validation, step 10  sort/accuracy 0.700 (best 0.900, step 5)",
        "step 20/20  64 samples/s  left 0:00:00  epoch 1.25  sort/kind 0.250",
        "done, step 20",
    ]


def test_a_run_is_followed_while_it_trains(tmp_path):
    """The run holds its folder and is silent at first for longer than a dead one may be."""
    begun, go_on = threading.Event(), threading.Event()

    def train():
        with claimed(tmp_path):
            begun.set()
            go_on.wait(10)
            written(tmp_path, end=END)

    run = threading.Thread(target=train)
    run.start()
    begun.wait(10)
    threading.Timer(0.3, go_on.set).start()
    found, lines = watched(tmp_path, patience=0.0)
    run.join()
    assert found.step == 20 and len(lines) == 4 and lines[-1] == "done, step 20"


def test_a_run_that_died_is_told(tmp_path):
    with pytest.raises(DeadRunError, match=r"died after step 20; .*--resume"):
        watched(written(tmp_path), patience=0.0)


def test_a_run_that_was_stopped_is_told(tmp_path):
    end = {"step": 10, "reason": "SIGTERM"}
    assert watched(written(tmp_path, RECORDS[:2], end))[1][-1] == "stopped (SIGTERM), step 10"


def test_a_folder_without_a_run_is_told(tmp_path, capsys):
    with pytest.raises(UserError, match=r"holds no metrics.jsonl: no run has begun"):
        watched(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["watch", str(tmp_path / "none")])
    assert ended.value.code == 2 and "no run folder" in capsys.readouterr().err
