"""What two ranks do for `tests.parallel.test_foreign_backbone`: a model on a folder of transformers is trained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ofacore import Generalist, Task
from ofacore.parallel import process_groups as groups
from ofacore.parallel.process_grid import ProcessGrid
from tests.parallel.layout_cases import restart

ROWS = [{"a": f"cat {number}", "b": f"dog {number} and {number}"} for number in range(8)]
FAMILIES = ("t5", "gpt2")
LAYOUTS: dict[str, dict[str, Any]] = {"data": {}, "fsdp": {"fsdp": True}}
STEPS = 2


def trained(folder: Path, out: Path) -> dict[str, torch.Tensor]:
    """Weights after some steps, all of them on every rank."""
    tasks = [
        Task("read", "[TEXT:a] -> [TEXT:b]", train=ROWS),
        Task("say", "-> [TEXT:b]", train=ROWS),
    ]
    model = Generalist.create(tasks, backbone={"name": "transformers", "path": str(folder)})
    model.fit(
        STEPS,
        out=out,
        samples=4,
        precision="fp32",
        threads=1,
        trackers=(),
        micro_batch_samples=1,
        optimizer={"name": "sgd", "lr": 0.05},
    )
    return model.model.portable_state()


def main(folder: Path) -> None:
    """One rank of two."""
    torch.set_num_threads(1)
    for layout, given in LAYOUTS.items():
        restart(ProcessGrid(int(os.environ["WORLD_SIZE"]), **given))
        for family in FAMILIES:
            state = trained(folder / family, folder / f"{layout} {family}")
            if groups.is_first():
                torch.save(state, folder / f"{layout} {family}.pt")
    groups.stop()
