"""Counts what two processes send in one step."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
import torch.distributed as dist

from ofa_planner.choice import Choice
from ofa_planner.traffic import of_micro_batch, of_step
from ofacore.config.train_section import FaultConfig, OptimizerConfig
from ofacore.model.pipeline.stages import cut_model
from ofacore.parallel import process_groups as groups
from ofacore.parallel.counting import CallCounter
from ofacore.parallel.process_grid import ProcessGrid
from ofacore.training.gradients import GradientPass
from ofacore.training.optim.optimizer import RunOptimizer
from ofacore.training.pipelined import PipelinePass
from ofacore.training.step.faults import FaultCounters
from tests.parallel.layout_cases import restart
from tests.parallel.token_work import batch_of, model_of, work_of
from tests.training.small import whole_step

LAYOUTS = {
    "tensor": {"tensor": 2},
    "sequence": {"tensor": 2, "sequence": True},
    "data": {},
    "zero": {"zero": True},
    "fsdp": {"fsdp": True},
    "pipeline": {"pipeline": 2},
}


def compare(**sizes: object) -> tuple[dict[str, float], dict[str, float]]:
    """Operation -> payload of one step with two micro-batches a replica: computed, counted."""
    layout = ProcessGrid(dist.get_world_size(), **sizes)  # type: ignore[arg-type]
    restart(layout)
    plan = work_of(samples=4 * layout.data)
    choice, stage = Choice(layout, 2), groups.pipeline_rank()
    model = model_of(plan)
    if layout.pipeline > 1:
        cut_model(model, layout.pipeline, stage)
    model.shard()
    kind = PipelinePass if layout.pipeline > 1 else GradientPass
    optimizer = RunOptimizer(model, OptimizerConfig(name="adamw"))
    passes = kind(model, optimizer, FaultConfig(), FaultCounters(FaultConfig()), 1)
    batches = [batch_of(plan, 2) for _ in range(2)]
    with CallCounter() as counter:
        passes.run(whole_step(0, batches, {"task/text": plan.samples * plan.target}))
        optimizer.step(1.0)
    computed: dict[str, float] = {}
    calls = [(call, 2) for call in of_micro_batch(plan, choice, stage)] + [
        (c, 1) for c in of_step(plan, layout, stage)
    ]
    for call, times in calls:
        computed[call.operation] = (
            computed.get(call.operation, 0.0) + call.payload * call.times * times
        )
    return computed, dict(counter.payload)


def main(folder: Path) -> None:
    """Each rank writes ``<rank>.json``."""
    torch.set_num_threads(1)
    groups.start(ProcessGrid(int(os.environ["WORLD_SIZE"])))
    found = {name: compare(**sizes) for name, sizes in LAYOUTS.items()}
    (folder / f"{dist.get_rank()}.json").write_text(json.dumps(found))
    groups.stop()
