"""``ofa train`` with several processes, of which one is killed and one hangs, ends where an undisturbed run does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ofacore import Generalist
from ofacore.checkpoint import checkpoints, find_latest, is_sharded, load
from ofacore.saving import convert
from tests.parallel.checkpoint_cases import unequal
from tests.parallel.whole_run import ROWS

pytestmark = [pytest.mark.dist, pytest.mark.slow, pytest.mark.timeout(1200)]

RUN = """
tasks:
  swap:
    instruction: "swap: [TEXT:a] -> [TEXT:b]"
    data: {train: ROWS}
model: {preset: tiny, hidden: 32, ffn: 64, heads: 2, encoder_layers: 2, decoder_layers: 2}
train:
  {steps: 12, samples: 6, precision: fp32, threads: 1, trackers: [jsonl], log_every: 1, ema: 0.5,
  checkpoint: {every: 2, keep_last: 20, background: true}}
"""
TIMEOUT = 60


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "run.yaml").write_text(RUN.replace("ROWS", str(folder / "rows.jsonl")))
    return folder / "run.yaml"


def started(config: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ofa_cli.main", "train", str(config), "--nproc", "2", "--pp", "2"]
    return subprocess.Popen(
        [*command, "--out", str(out), *more], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def rank_one(launcher: int) -> int:
    """Its process."""
    found = [
        int(entry.parent.name)
        for entry in Path("/proc").glob("[0-9]*/environ")
        if _child_of(int(entry.parent.name), launcher) and b"\0RANK=1\0" in b"\0" + entry.read_bytes()
    ]
    assert len(found) == 1, found
    return found[0]


def _child_of(process: int, parent: int) -> bool:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]) == parent
    except OSError:
        return False


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not what():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_killed_and_hung_processes_change_nothing_but_the_time(config: Path) -> None:
    undisturbed, disturbed = config.parent / "undisturbed", config.parent / "disturbed"
    calm = started(config, undisturbed)
    told = calm.communicate()
    assert calm.returncode == 0, told

    process = started(config, disturbed, "--max-restarts", "2", "--timeout", str(TIMEOUT))
    wait_for(lambda: len(checkpoints(disturbed)) > 0, process)
    os.kill(rank_one(process.pid), signal.SIGKILL)
    reached = checkpoints(disturbed)[-1].name
    wait_for(lambda: checkpoints(disturbed)[-1].name > reached, process)
    os.kill(rank_one(process.pid), signal.SIGSTOP)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "rank 1 was killed by SIGKILL" in errors and "starting again from the last checkpoint (1 of 2)" in errors
    assert "rank 1 hung after step" in errors and "(2 of 2)" in errors

    expected, found = (find_latest(folder) for folder in (undisturbed, disturbed))
    assert expected and found and is_sharded(found)
    assert unequal(load(found), load(expected)) == 0.0
    assert load(found).state["cursor"] == load(expected).state["cursor"]
    check_of_use(undisturbed)


def check_of_use(run: Path) -> None:
    """What two stages trained answers in one process; converted, it is the same model."""
    model = Generalist.from_pretrained(run)
    portable = convert(run, run.parent / "portable")
    assert not is_sharded(portable) and unequal(load(portable), load(find_latest(run) or run)) == 0.0
    answers = [
        each.infer("swap", {"a": "red cat"}, max_length=5).text
        for each in (model, Generalist.from_pretrained(portable))
    ]
    assert answers[0] == answers[1]
