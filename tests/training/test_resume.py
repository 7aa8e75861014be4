"""The whole stack, killed in the middle of an epoch and resumed with other loader workers: equal bit for bit."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ofacore.checkpoint import checkpoints, find_latest, load
from tests.training.run_stack import STEPS, run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _process_settings():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.set_flush_denormal(False)


def test_killed_and_resumed_run_equals_an_unbroken_one(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [sys.executable, "-m", "tests.training.run_stack", str(killed), "5", "0"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    stopped = find_latest(killed)
    assert stopped is not None and stopped.name == "step-000003"
    run(killed, workers=2)
    run(whole)
    assert len(losses(whole)) == STEPS
    for expected, found in zip(losses(whole), losses(killed), strict=True):
        assert expected == found, f"step {expected['step']}"
    for one, other in zip(checkpoints(whole), checkpoints(killed), strict=True):
        assert_equal(one, other)


def assert_equal(one: Path, other: Path) -> None:
    """Two checkpoints hold the same numbers."""
    assert one.name == other.name
    first, second = load(one), load(other)
    assert (
        first.state["cursor"] == second.state["cursor"]
        and first.state["faults"] == second.state["faults"]
    )
    for kind in ("model", "optimizer", "ema"):
        left, right = getattr(first, kind), getattr(second, kind)
        assert left.keys() == right.keys() and left
        assert [name for name in left if not torch.equal(left[name], right[name])] == [], (
            one.name,
            kind,
        )


def losses(folder: Path) -> list[dict[str, float]]:
    """What was logged of every step, without measured times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if "second" not in k and "cores" not in k} for line in lines
    ]
