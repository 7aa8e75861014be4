"""One way to divide a model among processes, and which stage then holds which layers and parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from ofa_planner.weights import Weight
from ofa_planner.workload import Workload
from ofacore.model.pipeline.stage_plan import StagePlan, layer_costs
from ofacore.parallel.cutting import cut
from ofacore.parallel.process_grid import ProcessGrid

_LAYER = re.compile(r"backbone\.(encoder|decoder)\.(\d+)\.")


@dataclass(frozen=True)
class Choice:
    """A layout with the settings of a run that bear on its memory and speed."""

    layout: ProcessGrid
    micro_batch: int = 1
    """Samples of one micro-batch."""
    recompute: bool = False
    """Activation checkpointing: layers keep their inputs alone."""

    def micro_batches(self, work: Workload) -> int:
        """Micro-batches of one replica in a step."""
        own = -(-work.samples // self.layout.data)
        return -(-own // self.micro_batch)


@lru_cache(maxsize=256)
def stage_plan(work: Workload, stages: int) -> StagePlan:
    """The cut that training would make."""
    sizes = work.sizes
    costs = layer_costs(work.model, sizes)
    costs[-1] += sizes.hidden * work.vocabulary
    return StagePlan(sizes.encoder_layers, sizes.decoder_layers, cut(costs, stages))


def holders(weight: Weight, plan: StagePlan) -> tuple[int, ...]:
    """Stages that hold a parameter."""
    name, start = weight.name, plan.stages_of("decoder")[0]
    layer = _LAYER.match(name)
    if layer:
        return (plan.stage_of(layer[1], int(layer[2])),)
    if name.startswith("embedding."):
        return tuple(sorted({0, start, plan.last}))
    if name.startswith(("types.source", "source_norm")):
        return (0,)
    if name.startswith(("types.target", "target_norm")):
        return (start,)
    if name.startswith(("backbone.encoder_norm", "backbone.decoder_norm")):
        return (plan.stages_of(name.split(".")[1].removesuffix("_norm"))[-1],)
    return _position_holders(weight, plan)


def _position_holders(weight: Weight, plan: StagePlan) -> tuple[int, ...]:
    if weight.readers is None:
        return tuple(range(plan.last + 1))
    found: set[int] = set()
    for side, layer in weight.readers:
        if layer is None:
            found.update(plan.stages_of(side))
        else:
            found.add(plan.stage_of(side, layer))
    return tuple(sorted(found))
