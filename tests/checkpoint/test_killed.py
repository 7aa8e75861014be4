"""A process killed at any moment while it saves leaves a checkpoint that loads."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from ofacore.checkpoint import (
    CheckpointError,
    Snapshot,
    checkpoints,
    find_latest,
    load,
    load_state,
    prune,
    save,
    save_sharded,
    step_folder,
    write_pointer,
)

SIZE = 300_000


def save_for_ever(run: Path, step: int, said: int) -> None:
    """In both forms by turns."""
    while True:
        step += 1
        write = save_sharded if step % 2 else save
        folder = write(
            step_folder(run, step),
            Snapshot({"w": torch.full((SIZE,), float(step))}, {"step": step}),
        )
        write_pointer(run, "latest", folder, step=step)
        prune(run, 1)
        os.write(said, f"{step}\n".encode())


def killed_while_saving(run: Path, first: int, seconds: float) -> int:
    """Last step that the killed process said it had saved."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        save_for_ever(run, first, writing)
    os.close(writing)
    with os.fdopen(reading) as said:
        lines = [said.readline()]
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        lines += said.readlines()
    return int(lines[-1])


def test_kill_leaves_the_previous_checkpoint_usable(tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rng, last = random.Random(3), 0
    for _ in range(12):
        said = killed_while_saving(tmp_path, last, rng.uniform(0.0, 0.05))
        found = find_latest(tmp_path)
        assert found is not None
        snapshot = load(found)
        last = snapshot.state["step"]
        assert last >= said
        assert torch.equal(snapshot.model["w"], torch.full((SIZE,), float(last)))
        assert all(load(path).state["step"] for path in checkpoints(tmp_path))
    torch.set_num_threads(threads)


def save_and_die_between_renames(folder: Path, step: int) -> None:
    """Replace a checkpoint in a process that is killed when the old one was moved and the new one not put there."""
    child = os.fork()
    if child == 0:
        rename = os.replace

        def deadly(source: Path, target: Path) -> None:
            if target == folder:
                os.kill(os.getpid(), signal.SIGKILL)
            rename(source, target)

        os.replace = deadly
        save(folder, Snapshot({"w": torch.full((3,), float(step))}, {"step": step}))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def test_kill_between_the_renames_leaves_the_old_one_findable(tmp_path):
    run = tmp_path / "run"
    folder = save(step_folder(run, 7), Snapshot({"w": torch.ones(3)}, {"step": 7}))
    write_pointer(run, "latest", folder, step=7)
    save_and_die_between_renames(folder, 8)
    assert not folder.exists()
    found = find_latest(run)
    assert found is not None and found in checkpoints(run)
    assert (
        load(found).state["step"] == load(folder).state["step"] == load_state(folder)["step"] == 7
    )
    prune(run, 1)
    assert load(folder).state["step"] == 7 and [
        path.name for path in folder.parent.glob("*step*")
    ] == [found.name]
    save(folder, Snapshot({"w": torch.zeros(3)}, {"step": 9}))
    assert load(folder).state["step"] == 9 and find_latest(run) == folder
    assert [path.name for path in folder.parent.glob("*step*")] == [folder.name]


def test_failing_rename_puts_the_old_one_back(tmp_path, monkeypatch):
    folder = save(tmp_path / "c", Snapshot({"w": torch.ones(3)}, {"step": 1}))
    rename, calls = os.replace, []

    def failing(source: Path, target: Path) -> None:
        calls.append(target)
        if calls.count(folder) == 1 and target == folder:
            raise OSError("disk is gone")
        rename(source, target)

    monkeypatch.setattr("ofacore.checkpoint.portable.os.replace", failing)
    with pytest.raises(CheckpointError, match="disk is gone"):
        save(folder, Snapshot({"w": torch.zeros(3)}, {"step": 2}))
    assert load(folder).state["step"] == 1 and [path.name for path in tmp_path.iterdir()] == ["c"]
