"""Runs in bf16 on several processes: which weights they return and save."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ofacore import Generalist, Task
from ofacore.evaluation.validator import Validator
from ofacore.parallel.process_grid import ProcessGrid
from tests.parallel.layout_cases import alone, difference, restart
from tests.parallel.whole_run import ROWS, SIZES

FROZEN = "backbone.encoder"
TRAIN: dict[str, Any] = {
    "samples": 6,
    "precision": "bf16",
    "threads": 1,
    "trackers": ("jsonl",),
    "log_every": 1,
    "ema": 0.5,
    "micro_batch_samples": 4,
    "validation": {"every": 2, "samples": 6},
    "lr": {"name": "constant"},
    "optimizer": {"name": "adamw", "rules": [{"pattern": FROZEN, "freeze": True}]},
}
LOSS = "valid/swap/b/loss"


def made() -> Generalist:
    tasks = [Task("swap", "swap: [TEXT:a] -> [TEXT:b]", train=ROWS, valid=ROWS[:6])]
    return Generalist.create(tasks, preset="tiny", **SIZES)


def exact_case(folder: Path, **sizes: Any) -> dict[str, float]:
    """Largest differences between the weights, and between the losses, that must be the same."""
    where = ProcessGrid(dist.get_world_size(), **sizes)
    with alone():
        begun = made().model.portable_state()
    restart(where)
    run = made()
    run.fit(2, out=folder, **TRAIN)
    returned, loss = run.model.portable_state(), Validator(run)(2)[LOSS]
    dist.barrier()
    found = {"resumed": resumed(folder, where, returned)}
    with alone():
        again = Generalist.from_pretrained(folder)
        again.data, again.assembly.config = run.data, run.assembly.config
        loaded, shown = again.model.portable_state(), logged(folder)
        found |= {"loss": abs(loss - shown), "loss again": abs(Validator(again)(2)[LOSS] - shown)}
    frozen = [name for name in begun if FROZEN in name]
    return found | {
        "loaded": difference(returned, loaded),
        "lost": float(len(rounded_alone(returned, begun))),
        "still": float(difference(begun, returned) == 0),
        "frozen": difference({n: begun[n] for n in frozen}, {n: returned[n] for n in frozen}),
    }


def rounded_alone(returned: dict[str, Tensor], begun: dict[str, Tensor]) -> list[str]:
    """Matrices that were learned and have lost their digits."""
    learned = [
        name
        for name, value in returned.items()
        if value.ndim > 1 and not torch.equal(value, begun[name])
    ]
    return [
        name for name in learned if torch.equal(returned[name], returned[name].bfloat16().float())
    ]


def resumed(folder: Path, where: ProcessGrid, returned: dict[str, Tensor]) -> float:
    """A run that goes on with no step to do returns what it was given."""
    restart(where)
    run = made()
    run.fit(2, out=folder, resume=True, **TRAIN)
    return difference(run.model.portable_state(), returned)


def logged(folder: Path) -> float:
    """The loss of the validation behind the second step."""
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return next(float(record[LOSS]) for record in reversed(records) if LOSS in record)
