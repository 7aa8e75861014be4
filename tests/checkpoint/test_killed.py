"""A process killed at any moment while it saves leaves a checkpoint that loads."""

import os
import random
import signal
import time
from pathlib import Path

import torch

from ofacore.checkpoint import Snapshot, checkpoints, find_latest, load, prune, save, step_folder, write_pointer

SIZE = 300_000


def save_for_ever(run: Path, step: int, said: int) -> None:
    while True:
        step += 1
        folder = save(step_folder(run, step), Snapshot({"w": torch.full((SIZE,), float(step))}, {"step": step}))
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
