"""A run of the whole stack that can kill itself: ``python -m tests.training.run_stack FOLDER KILL_AT WORKERS``."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ofacore import Generalist, Task
from ofacore.checkpoint import find_latest
from ofacore.generalist.fitting import fit
from tests.training.run_small import Killer

STEPS = 9
EVERY = 3
WORDS = ("red", "green", "blue", "one", "two", "three", "four")


def rows(count: int) -> list[dict[str, str]]:
    return [
        {"a": f"{WORDS[i % 7]} {WORDS[i * i % 5]}", "b": WORDS[(i + 1) % 7].upper()}
        for i in range(count)
    ]


def run(folder: Path, kill_at: int = -1, workers: int = 0) -> None:
    tasks = [
        Task("shout", "say it louder: [TEXT:a] -> [TEXT:b]", train=rows(37)),
        Task("echo", "[TEXT:a] -> again: [TEXT:a]", train=rows(23)),
    ]
    model = Generalist.create(
        tasks, hidden=32, ffn=64, heads=2, encoder_layers=1, decoder_layers=1, dropout=0.1
    )
    train = {
        "steps": STEPS,
        "samples": 8,
        "micro_batch_samples": 3,
        "threads": 1,
        "workers": workers,
        "precision": "bf16",
        "ema": 0.9,
        "log_every": 1,
        "checkpoint": {"every": EVERY},
        "trackers": ("jsonl",),
    }
    config = model.assembly.config
    section = type(config.train).model_validate({**config.train.model_dump(), **train})
    model.assembly.config = config.model_copy(update={"train": section})
    fit(
        model,
        folder,
        resume=find_latest(folder) is not None,
        callbacks=[Killer(kill_at)],
        quiet=True,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
