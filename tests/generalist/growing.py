"""A tiny model of two tasks, tasks that join it, and what it says of rows before any training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofacore import Generalist, Task
from ofacore.batching.collate import collate
from ofacore.batching.permutation import item_rng

SMALL: dict[str, Any] = {
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "dropout": 0.0,
}
QUIET: dict[str, Any] = {"samples": 8, "trackers": ("jsonl",), "precision": "fp32", "threads": 1}
WORDS = ("red", "green", "blue", "cat", "dog", "sun")


def wave(frames: int) -> np.ndarray:
    t = np.linspace(0, 6, frames, dtype=np.float32)
    return np.stack([np.sin(t), np.cos(t), t], 1)


ROWS = [
    {
        "a": word,
        "b": word.upper(),
        "kind": word[0],
        "box": [0.1, 0.1, 0.5 + k / 20, 0.9],
        "m": wave(9 + k),
    }
    for k, word in enumerate(WORDS)
]
SHOUT = "louder: [TEXT:a] -> [TEXT:b]"
PLACE = "where is [TEXT:a]? -> [BOX:box,relative]"
JOINING = {
    "move": "[MOTION:m,min_length=0] what is it? -> [TEXT:a]",
    "sort": "which kind is [TEXT:a]? -> [CATEGORY:kind]",
}


def made(**model: Any) -> Generalist:
    """A new model of the old tasks."""
    tasks = [
        Task("shout", SHOUT, train=ROWS, test=ROWS, metrics=[{"metric": "accuracy", "slot": "b"}])
    ]
    tasks.append(Task("place", PLACE, train=ROWS))
    return Generalist.create(tasks, **{**SMALL, **model})


def joining(*names: str) -> list[Task]:
    """Tasks that are new to it."""
    return [Task(name, JOINING[name], train=ROWS) for name in names or JOINING]


@torch.no_grad()
def logits(model: Generalist, task: str) -> Tensor:
    """fp32 [positions, v]: what the model says of a task's rows under teacher forcing."""
    encoder, built = model.assembly.encoders[task], model.model.eval()
    examples = [
        encoder.encode(row, split="test", rng=item_rng(0, task, 0, k), row_id=str(k))
        for k, row in enumerate(ROWS)
    ]
    batch = collate(examples)
    hidden = built.hidden(batch)
    found = [built.predict(group, hidden).logits() for group in batch.terms]
    return torch.cat([part.flatten() for part in found])


def answers(model: Generalist, task: str, **generation: Any) -> list[Mapping[str, Any]]:
    """Values and scores of all rows."""
    found = model.infer(task, [{"a": row["a"]} for row in ROWS], max_length=4, **generation)
    return [{"score": out.score, **{k: str(v) for k, v in out.values.items()}} for out in found]
