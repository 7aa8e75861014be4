"""Memory, time and communication of one choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from ofa_planner import activations
from ofa_planner import work as operations
from ofa_planner.choice import Choice, stage_plan
from ofa_planner.hardware import Hardware
from ofa_planner.memory import Held, by_muon, held, of_stage
from ofa_planner.traffic import Call, of_micro_batch, of_step, stride
from ofa_planner.work import LOGITS_BUDGET
from ofa_planner.workload import Workload
from ofacore.parallel.process_grid import ProcessGrid

_BUCKET = 16 * 2**20 * 4
"""Bytes of gradients that are copied together before they are summed."""
_MUON_ITERATIONS = 5
_PASSES = 3
"""How often element-wise operations move what the forward pass keeps: written, read, and once in between."""


@dataclass(frozen=True)
class Memory:
    """Bytes of the process that needs the most."""

    stage: int
    held: Held
    activations: float
    """Of all micro-batches in flight, and of the layer that is computed."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.held.total + self.activations


@dataclass(frozen=True)
class Time:
    """Seconds of a step."""

    compute: float
    """The stage with the most work: its matrix and element-wise operations."""
    communication: float
    """Of that stage, and what follows the last micro-batch."""
    bubble: float
    """It waits for other stages."""
    optimizer: float

    @property
    def total(self) -> float:
        """The step."""
        return self.compute + self.communication + self.bubble + self.optimizer


@dataclass(frozen=True)
class Estimate:
    """What a choice costs."""

    choice: Choice
    memory: Memory
    time: Time
    sent: dict[str, float]
    """Kind -> bytes that a process sends in a step; of each kind the process that sends the most."""
    samples_per_second: float
    utilisation: float
    """Share of the GPUs' best rate that the model's own operations use, recomputation not counted."""


def estimate(work: Workload, choice: Choice, hardware: Hardware) -> Estimate:
    """Costs of a choice."""
    number, stages = choice.micro_batches(work), range(choice.layout.pipeline)
    time = _time(work, choice, hardware)
    sent: dict[str, float] = {}
    for stage in stages:
        own = _by_kind(of_micro_batch(work, choice, stage), number)
        own.update(_by_kind(of_step(work, choice.layout, stage)))
        sent = {kind: max(sent.get(kind, 0.0), own[kind]) for kind in sent.keys() | own.keys()}
    useful = operations.step(work, micro_batch=1) / choice.layout.world
    return Estimate(
        choice,
        memory_of(work, choice),
        time,
        dict(sorted(sent.items())),
        work.samples / time.total,
        useful / time.total / hardware.flops,
    )


def _by_kind(calls: Iterable[Call], times: int = 1) -> Counter[str]:
    found: Counter[str] = Counter()
    for call in calls:
        found[call.kind] += call.sent * times  # type: ignore[assignment]
    return found


def memory_of(work: Workload, choice: Choice) -> Memory:
    """Memory of the process that needs the most."""
    return max(
        (_memory(work, choice, stage) for stage in range(choice.layout.pipeline)),
        key=lambda each: each.total,
    )


def _memory(work: Workload, choice: Choice, stage: int) -> Memory:
    kept, working = activations.of_stage(work, choice, stage)
    in_flight = min(choice.layout.pipeline - stage, choice.micro_batches(work))
    logits = min(
        LOGITS_BUDGET, operations.logits_bytes(work, choice.micro_batch, choice.layout.tensor)
    )
    beside = working * (2 if choice.recompute else 1) + (
        2 * logits if stage == choice.layout.pipeline - 1 else 0
    )
    beside += _BUCKET if choice.layout.data > 1 else 0
    return Memory(stage, held(work, choice.layout, stage), in_flight * kept + beside)


# ---------------------------------------------------------------- time


def _time(work: Workload, choice: Choice, hardware: Hardware) -> Time:
    layout, number = choice.layout, choice.micro_batches(work)
    stages = [_stage_seconds(work, choice, hardware, stage) for stage in range(layout.pipeline)]
    compute, sending = max(stages, key=sum)
    bubble = (layout.pipeline - 1) * (compute + sending)
    after = max(
        _seconds(of_step(work, choice.layout, stage), choice, hardware)
        for stage in range(layout.pipeline)
    )
    updating = max(
        _update(work, choice.layout, hardware, stage) for stage in range(layout.pipeline)
    )
    return Time(number * compute, number * sending + after, bubble, updating)


def _stage_seconds(
    work: Workload, choice: Choice, hardware: Hardware, stage: int
) -> tuple[float, float]:
    """Computing and communicating, for one micro-batch, forward and backward."""
    calls = of_micro_batch(work, choice, stage)
    return _compute(work, choice, hardware, stage), _seconds(calls, choice, hardware)


def _compute(work: Workload, choice: Choice, hardware: Hardware, stage: int) -> float:
    plan = stage_plan(work, choice.layout.pipeline)
    encoder, decoder = len(plan.layers("encoder", stage)), len(plan.layers("decoder", stage))
    total = operations.encoder_layer(work).times(encoder) + operations.decoder_layer(work).times(
        decoder
    )
    total += operations.positions(work, "encoder").times(bool(encoder))
    total += operations.positions(work, "decoder").times(bool(decoder))
    found = total.times(choice.micro_batch).total(choice.recompute)
    if stage == plan.last:
        found += operations.output(work, choice.micro_batch, choice.layout.tensor).total(False)
    products = found / choice.layout.tensor / (hardware.flops * hardware.efficiency)
    kept, _ = activations.of_stage(work, Choice(choice.layout, choice.micro_batch), stage)
    moved = kept * (_PASSES + choice.recompute) / hardware.memory_bandwidth
    starting = (encoder + 1.6 * decoder) * hardware.launch * (3 + choice.recompute)
    return max(products + moved, starting)


def _seconds(calls: Iterable[Call], choice: Choice, hardware: Hardware) -> float:
    return sum(
        call.sent / hardware.rate(stride(call.group, choice.layout)) + call.times * hardware.latency
        for call in calls
    )


@lru_cache(maxsize=4096)
def _update(work: Workload, layout: ProcessGrid, hardware: Hardware, stage: int) -> float:
    """Every number is read and written; Muon's matrices are whole on each process of a tensor group."""
    share = layout.data if layout.zero else 1
    moved = 2.0 * held(work, layout, stage).total / hardware.memory_bandwidth
    products = sum(_orthogonal(*w.shape) for w in of_stage(work, layout, stage) if by_muon(work, w))
    return moved + products / share / (hardware.flops * hardware.efficiency)


def _orthogonal(rows: int, columns: int) -> float:
    """Operations of Muon's iteration on a matrix."""
    short, long = sorted((rows, columns))
    return _MUON_ITERATIONS * (4.0 * short**2 * long + 2.0 * short**3)
