"""Bytes of weights, gradients and optimiser state on one process."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ofa_planner.choice import holders, stage_plan
from ofa_planner.weights import Weight, weights
from ofa_planner.workload import Workload
from ofacore.config.train_section import OptimizerConfig
from ofacore.parallel.process_grid import ProcessGrid

CORE_TOKENS = 6
"""Tokens of the core's own block, which is split over the tensor group by itself."""
_NOT_MUON = re.compile(OptimizerConfig().muon_except)


@dataclass(frozen=True)
class Held:
    """Bytes that a process holds from step to step."""

    weights: int
    gradients: int
    """In fp32, where the optimiser reads them."""
    optimizer: int
    """fp32 masters of bf16 weights (layers that FSDP splits are fp32 themselves), moments, step counters."""
    gathered: int = 0
    """FSDP: layers that are whole while they compute."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.gathered


def local_numbers(weight: Weight, layout: ProcessGrid, fsdp: bool = True) -> int:
    """Elements of a parameter on the first process of its groups, which holds the most."""
    shape = list(weight.shape)
    if weight.name.startswith("embedding."):
        shape[0] = -(-CORE_TOKENS // layout.tensor) - (-(shape[0] - CORE_TOKENS) // layout.tensor)
    elif weight.split is not None:
        shape[weight.split] //= layout.tensor
    if fsdp and shards(weight, layout):
        shape[0] = -(-shape[0] // layout.data)
    return math.prod(shape)


def shards(weight: Weight, layout: ProcessGrid) -> bool:
    """Whether FSDP splits a parameter: those of layers."""
    return (
        layout.fsdp
        and layout.data > 1
        and weight.name.startswith(("backbone.encoder.", "backbone.decoder."))
    )


@lru_cache(maxsize=4096)
def of_stage(work: Workload, layout: ProcessGrid, stage: int) -> tuple[Weight, ...]:
    """Parameters that the first process of a stage holds, whole or in part."""
    own = range(-(-work.experts // layout.expert))
    return tuple(
        weight
        for weight, stages in _placed(work, layout.pipeline)
        if stage in stages and (not weight.expert or _number(weight) in own)
    )


@lru_cache(maxsize=64)
def _placed(work: Workload, stages: int) -> tuple[tuple[Weight, tuple[int, ...]], ...]:
    """Every parameter and the stages that hold it."""
    plan = stage_plan(work, stages)
    return tuple((weight, holders(weight, plan)) for weight in weights(work))


@lru_cache(maxsize=4096)
def sharded_numbers(work: Workload, layout: ProcessGrid, stage: int) -> int:
    """Elements of the layers of a stage that FSDP shards, on one tensor rank, gathered."""
    own = of_stage(work, layout, stage)
    return sum(
        local_numbers(weight, layout, fsdp=False) for weight in own if shards(weight, layout)
    )


def _number(weight: Weight) -> int:
    return int(weight.name.split(".each.")[1].partition(".")[0])


@lru_cache(maxsize=4096)
def held(work: Workload, layout: ProcessGrid, stage: int) -> Held:
    """What the process of a stage holds that holds the most."""
    own = of_stage(work, layout, stage)
    numbers = [local_numbers(weight, layout) for weight in own]
    state = [
        _state(work, weight, number, layout) for weight, number in zip(own, numbers, strict=True)
    ]
    kept = [
        number * (4 if shards(w, layout) else work.width)
        for w, number in zip(own, numbers, strict=True)
    ]
    return Held(
        sum(kept),
        sum(numbers) * 4,
        _optimizer(own, numbers, state, layout),
        _gathered(work, own, layout),
    )


def _state(work: Workload, weight: Weight, numbers: int, layout: ProcessGrid) -> int:
    """Bytes that the optimiser keeps for a parameter."""
    master = 4 * numbers if work.bf16 and not shards(weight, layout) else 0
    if work.method == "sgd":
        return master
    return master + (4 * numbers if by_muon(work, weight) else 8 * numbers + 4)


def by_muon(work: Workload, weight: Weight) -> bool:
    """Whether Muon updates a parameter: a matrix that is no table, nor excepted by name."""
    return (
        work.method == "muon"
        and len(weight.shape) > 1
        and not weight.table
        and not _NOT_MUON.search(weight.name)
    )


def _optimizer(
    own: Sequence[Weight], numbers: Sequence[int], state: Sequence[int], layout: ProcessGrid
) -> int:
    if not layout.zero or layout.data == 1:
        return sum(state)
    loads: dict[tuple[str, int], int] = {}
    for expert, size in ((False, layout.data), (True, layout.expert_data)):
        chosen = [i for i, weight in enumerate(own) if weight.expert == expert]
        kind = "expert" if expert else "shared"
        chosen_weights = [own[i] for i in chosen]
        chosen_numbers = [numbers[i] for i in chosen]
        for i, rank in _owners(chosen_weights, chosen_numbers, size):
            loads[kind, rank] = loads.get((kind, rank), 0) + state[chosen[i]]
    return _largest(loads, "expert") + _largest(loads, "shared")


def _largest(loads: Mapping[tuple[str, int], int], kind: str) -> int:
    """The load of the rank that has most of one kind."""
    return max((load for (of, _), load in loads.items() if of == kind), default=0)


def _owners(own: Sequence[Weight], numbers: Sequence[int], size: int) -> list[tuple[int, int]]:
    """(Place, rank that keeps its state): the largest first, each to the rank with the least so far."""
    heap = [(0, rank) for rank in range(size)]
    found = []
    for i in sorted(range(len(own)), key=lambda i: (-numbers[i], own[i].name)):
        load, rank = heap[0]
        heapq.heapreplace(heap, (load + numbers[i], rank))
        found.append((i, rank))
    return found


def _gathered(work: Workload, own: Sequence[Weight], layout: ProcessGrid) -> int:
    """Two whole layers (one computes, the next arrives) and the whole gradient of one in fp32."""
    layers: dict[str, int] = {}
    for weight in own:
        if shards(weight, layout):
            layer = ".".join(weight.name.split(".")[:3])
            layers[layer] = layers.get(layer, 0) + local_numbers(weight, layout, fsdp=False)
    return max(layers.values(), default=0) * (2 * work.width + 4)
