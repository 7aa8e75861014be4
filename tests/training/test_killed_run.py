"""100 steps equal 50 steps, a kill -9, and the rest: bit for bit, in weights, optimiser, averages and scores."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import torch

from ofacore.checkpoint import find_latest, load
from tests.training.run_small import run

ROOT = Path(__file__).parents[2]


def test_killed_and_resumed_run_equals_an_unbroken_one(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run(tmp_path / "whole")
    command = [
        sys.executable,
        "-m",
        "tests.training.run_small",
        str(tmp_path / "killed"),
        "100",
        "57",
    ]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    stopped = find_latest(tmp_path / "killed")
    assert stopped is not None and stopped.name == "step-000050"
    run(tmp_path / "killed")
    torch.set_num_threads(threads)
    whole, resumed = (
        load(find_latest(tmp_path / name) or tmp_path) for name in ("whole", "killed")
    )
    assert whole.state["step"] == 100 and whole.state == resumed.state
    for kind in ("model", "optimizer", "ema"):
        one, other = getattr(whole, kind), getattr(resumed, kind)
        assert one.keys() == other.keys() and one
        assert all(torch.equal(one[name], other[name]) for name in one), kind
    lines = [
        (tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "killed")
    ]
    assert [json.loads(line) for line in lines[0]] == [json.loads(line) for line in lines[1]]
