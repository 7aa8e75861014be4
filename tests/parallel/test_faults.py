"""``ofa train`` with several processes, killed, hung or told to stop, ends where an undisturbed run does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ofacore import Generalist
from ofacore.checkpoint import CheckpointError, checkpoints, find_latest, is_sharded, load
from ofacore.generalist.storing import convert
from tests.parallel.checkpoint_cases import unequal
from tests.parallel.launching import free_port
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
TIMEOUT = 20
STARTED: list[subprocess.Popen[str]] = []


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "run.yaml").write_text(RUN.replace("ROWS", str(folder / "rows.jsonl")))
    return folder / "run.yaml"


@pytest.fixture(scope="module")
def undisturbed(config: Path) -> Path:
    """The run that nothing happens to."""
    folder = config.parent / "undisturbed"
    process = started(config, folder)
    told = process.communicate()
    assert process.returncode == 0, told
    return folder


def started(config: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "ofa_cli.main",
        "train",
        str(config),
        "--nproc",
        "2",
        "--pp",
        "2",
    ]
    process = subprocess.Popen(
        [*command, "--out", str(out), *more],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    STARTED.append(process)
    return process


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """A test that fails leaves no process behind: its launcher ends the ranks."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.terminate()
            process.communicate()


def rank_one(launcher: int) -> int:
    """Its process."""
    found = [
        int(entry.parent.name)
        for entry in Path("/proc").glob("[0-9]*/environ")
        if _child_of(int(entry.parent.name), launcher)
        and b"\0RANK=1\0" in b"\0" + entry.read_bytes()
    ]
    assert len(found) == 1, found
    return found[0]


def _child_of(process: int, parent: int) -> bool:
    try:
        return (
            int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]) == parent
        )
    except OSError:
        return False


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    while not what():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def last_step(run: Path) -> int:
    """Of the newest complete checkpoint; 0: there is none."""
    found = checkpoints(run)
    return int(found[-1].name.removeprefix("step-")) if found else 0


def check_equal(run: Path, expected: Path) -> None:
    """Two runs ended alike, bit for bit."""
    ours, theirs = (find_latest(folder) for folder in (run, expected))
    assert ours and theirs and is_sharded(ours)
    assert unequal(load(ours), load(theirs)) == 0.0
    assert load(ours).state["cursor"] == load(theirs).state["cursor"]


def test_killed_and_hung_processes_change_nothing_but_the_time(
    config: Path, undisturbed: Path
) -> None:
    disturbed = config.parent / "disturbed"
    process = started(config, disturbed, "--max-restarts", "2", "--timeout", str(TIMEOUT))
    wait_for(lambda: last_step(disturbed) > 0, process)
    os.kill(rank_one(process.pid), signal.SIGKILL)
    reached = last_step(disturbed)
    wait_for(lambda: last_step(disturbed) > reached, process)
    os.kill(rank_one(process.pid), signal.SIGSTOP)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert (
        "rank 1 was killed by SIGKILL" in errors
        and "starting again from the last checkpoint (1 of 2)" in errors
    )
    assert "rank 1 hung after step" in errors and "(2 of 2)" in errors
    check_equal(disturbed, undisturbed)
    check_of_use(undisturbed)


def test_a_signal_saves_on_all_ranks_and_nothing_is_lost(config: Path, undisturbed: Path) -> None:
    """SIGTERM to the launcher and, as Slurm does, to a rank; then SIGINT to the process group, as Ctrl-C does."""
    out = config.parent / "told"

    def terminated(process: subprocess.Popen[str]) -> None:
        os.kill(rank_one(process.pid), signal.SIGTERM)
        process.terminate()

    def interrupted(process: subprocess.Popen[str]) -> None:
        os.killpg(process.pid, signal.SIGINT)

    with_workers = ("--set", "train.workers=1")
    for tell, name, more in (
        (terminated, "SIGTERM", with_workers),
        (interrupted, "SIGINT", ("--resume",)),
    ):
        reached = last_step(out)
        process = started(config, out, *more)
        while last_step(out) == reached and process.poll() is None:
            time.sleep(0.02)
        tell(process)
        _, errors = process.communicate()
        assert process.returncode == 0, errors
        assert (
            f"stopped after step {last_step(out)} ({name}); go on with: the same ofa train"
            in errors
        )
        assert reached < last_step(out) < 12
        assert not (out / "scores.json").exists()
    process = started(config, out, "--resume")
    told = process.communicate()
    assert process.returncode == 0, told
    check_equal(out, undisturbed)


def check_of_use(run: Path) -> None:
    """What two stages trained answers in one process; converted, it is the same model."""
    model = Generalist.from_pretrained(run)
    portable = convert(run, run.parent / "portable")
    assert (
        not is_sharded(portable) and unequal(load(portable), load(find_latest(run) or run)) == 0.0
    )
    answers = [
        each.infer("swap", {"a": "red cat"}, max_length=5).text
        for each in (model, Generalist.from_pretrained(portable))
    ]
    assert answers[0] == answers[1]


def test_a_checkpoint_without_one_piece_is_refused_by_the_name_of_the_piece(
    undisturbed: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(undisturbed, tmp_path / "broken"))
    piece = max((broken / "checkpoints/step-000012/shards").iterdir())
    piece.unlink()
    place = find_latest(broken) or broken
    for read in (lambda: load(place, tensors=False), lambda: Generalist.from_pretrained(broken)):
        with pytest.raises(
            CheckpointError, match=f"{piece.name}: missing from the checkpoint; use another"
        ) as told:
            read()
        assert "\n" not in str(told.value)


def test_a_rehearsal_takes_all_processes_and_leaves_nothing(config: Path, tmp_path: Path) -> None:
    process = started(config, tmp_path / "out", "--dry-run")
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "rehearsed on 2 processes: --pp 2\n" in said and "step 2: 6 samples" in said
    assert "in a process at the peak" in said and "memory expected" not in said
    assert not (tmp_path / "out").exists()


EXTRA = """
from ofacore.plugin import CONTRACT, Component, ComponentManifest
MANIFEST = ComponentManifest("extra", CONTRACT, (Component("schedule", "extra", "ofacore.components.schedules:All"),))
"""


def test_a_process_with_another_plugin_is_named_on_all(config: Path, tmp_path: Path) -> None:
    (tmp_path / "extra_manifest.py").write_text(EXTRA)
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [
        sys.executable,
        "-m",
        "ofa_cli.main",
        "train",
        str(config),
        "--out",
        str(tmp_path / "out"),
    ]
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **group, "RANK": str(rank), "PYTHONPATH": paths, **more},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank, more in enumerate(({}, {"OFA_PLUGIN_DEV": "extra=extra_manifest:MANIFEST"}))
    ]
    for rank, process in enumerate(processes):
        _, errors = process.communicate()
        assert process.returncode == 2, errors
        assert (
            f"error: rank {rank}: process 1 has another set of plugins than process 0: extra"
            in errors
        )
