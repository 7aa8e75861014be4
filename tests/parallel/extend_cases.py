"""A run's model takes more tasks on several processes: what every rank finds, against the model as it was there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ofacore import Generalist
from ofacore.batching.collate import collate
from ofacore.batching.permutation import item_rng
from ofacore.config.train_section import OptimizerConfig
from ofacore.generalist.fitting import divide
from ofacore.generalist.whole_model import whole_model
from ofacore.parallel import process_groups as groups
from ofacore.parallel.process_grid import ProcessGrid
from ofacore.runs.extended_run import begin, read_extension
from tests.generalist.growing import ROWS, answers, logits
from tests.parallel.layout_cases import restart
from tests.parallel.pipeline_cases import passing
from tests.parallel.staged import step_of

LAYOUTS: dict[str, dict[str, Any]] = {"tensor": {"tensor": 2}, "pipeline": {"pipeline": 2}}


def extended_case(folder: Path, layout: dict[str, Any]) -> dict[str, Any]:
    """Whether old tasks say the same, with the same losses in a step of this layout."""
    restart(ProcessGrid(dist.get_world_size(), **layout))
    run, extension = read_extension([str(folder / "own.yaml")], [], folder / "old")
    old, grown = Generalist.from_pretrained(folder / "old"), begin(extension, run)
    found: dict[str, Any] = {"new blocks": len(grown.assembly.vocabulary.blocks)}
    for name in old.tasks:
        found[f"{name} logits"] = torch.equal(logits(old, name), logits(grown, name))
    found["answers"] = answers(old, "shout") == answers(grown, "shout")
    before_step, after_step = losses(old, "shout"), losses(grown, "shout")
    found["losses"] = bool(before_step) and before_step == after_step
    before, after = (whole_model(model).portable_state() for model in (old, grown))
    found["weights"] = all(torch.equal(before[name], after[name]) for name in before)
    return found


def losses(generalist: Generalist, task: str) -> dict[str, float]:
    """Of one step on a task's rows, by the pass of this layout."""
    encoder = generalist.assembly.encoders[task]
    examples = [
        encoder.encode(row, split="valid", rng=item_rng(0, task, 0, k), row_id=str(k))
        for k, row in enumerate(ROWS)
    ]
    divide(generalist, torch.float32)
    passes, _ = passing(generalist.model, OptimizerConfig(name="sgd"))
    return dict(passes.run(step_of(0, [collate(examples[:3]), collate(examples[3:])])).values)


def main(folder: Path, names: list[str]) -> None:
    """Run some cases; each rank writes ``<name>.<rank>.json``."""
    torch.set_num_threads(1)
    groups.start(ProcessGrid(int(os.environ["WORLD_SIZE"])))
    for name in names:
        result = extended_case(folder, LAYOUTS[name])
        (folder / f"{name}.{dist.get_rank()}.json").write_text(json.dumps(result))
    groups.stop()
