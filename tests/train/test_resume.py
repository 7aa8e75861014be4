"""The whole stack, killed in the middle of an epoch and resumed with other loader workers: equal bit for bit."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ofacore.checkpoint import find_latest, load

ROOT = Path(__file__).parents[2]
UNEXPLAINED = pytest.mark.xfail(
    reason="open defect: weights differ after resuming with a worker process; the batches are equal", strict=False
)


def run(folder: Path, kill_at: int, workers: int) -> int:
    command = [sys.executable, "-m", "tests.train.run_stack", str(folder), str(kill_at), str(workers)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=UNEXPLAINED)])
def test_killed_and_resumed_run_equals_an_unbroken_one(tmp_path, workers):
    assert run(tmp_path / "whole", -1, 0) == 0
    assert run(tmp_path / "killed", 7, 0) == -signal.SIGKILL
    stopped = find_latest(tmp_path / "killed")
    assert stopped is not None and stopped.name == "step-000005"
    assert run(tmp_path / "killed", -1, workers) == 0
    whole, resumed = (load(find_latest(tmp_path / name) or tmp_path) for name in ("whole", "killed"))
    assert whole.state["step"] == 14 and whole.state["cursor"] == resumed.state["cursor"]
    for kind in ("model", "optimizer", "ema"):
        one, other = getattr(whole, kind), getattr(resumed, kind)
        assert one.keys() == other.keys() and one
        assert all(torch.equal(one[name], other[name]) for name in one), kind
    assert losses(tmp_path / "whole") == losses(tmp_path / "killed")


def losses(folder: Path) -> list[dict[str, float]]:
    """What was logged of every step, without measured times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if "second" not in k and "cores" not in k} for line in lines]
