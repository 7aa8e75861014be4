"""What processes send to each other in a step, call by call.

Left out: flags, counts and shapes of a few bytes, losses over the whole step, and what plugins' adapters send.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ofa_planner.choice import Choice, holders, stage_plan
from ofa_planner.memory import local_numbers, of_stage, sharded_numbers, shards
from ofa_planner.workload import Workload
from ofacore.parallel.process_grid import ProcessGrid

Operation = Literal["all-reduce", "all-gather", "reduce-scatter", "broadcast", "all-to-all", "send"]
Group = Literal["tensor", "data", "expert", "expert data", "pipeline"]


@dataclass(frozen=True)
class Call:
    """Equal calls of one step."""

    kind: str
    """What for: ``TP``, ``PP``, ``DP gradients``, ``ZeRO updates``, ``FSDP``, ``EP``, ``tied gradients``."""
    operation: Operation
    group: Group
    size: int
    """Processes in the group."""
    payload: float
    """Bytes of one call: the whole tensor, as it is before it is scattered or after it is gathered."""
    times: float = 1.0

    @property
    def sent(self) -> float:
        """Bytes that a process sends in all calls, by ring algorithms."""
        factor = {"all-reduce": 2.0 * (self.size - 1) / self.size, "send": 1.0}
        return factor.get(self.operation, (self.size - 1) / self.size) * self.payload * self.times


def of_micro_batch(work: Workload, choice: Choice, stage: int) -> tuple[Call, ...]:
    """What a process of a stage sends for one micro-batch."""
    return (
        *_tensor(work, choice, stage),
        *_experts(work, choice, stage),
        *_pipeline(work, choice, stage),
        *_fsdp(work, choice, stage),
    )


@lru_cache(maxsize=4096)
def of_step(work: Workload, layout: ProcessGrid, stage: int) -> tuple[Call, ...]:
    """What a process of a stage sends once a step, behind the last micro-batch."""
    own = of_stage(work, layout, stage)
    plan, found = stage_plan(work, layout.pipeline), []
    for weight in own:
        shared = holders(weight, plan)
        number = local_numbers(weight, layout)
        if len(shared) > 1:
            found.append(
                Call("tied gradients", "all-reduce", "pipeline", len(shared), 4.0 * number)
            )
        if layout.tensor > 1 and (
            weight.partial == "always" or (weight.partial == "sequence" and layout.sequence)
        ):
            found.append(Call("TP", "all-reduce", "tensor", layout.tensor, 4.0 * number))
    replicated = [weight for weight in own if not shards(weight, layout)]
    for expert, size in ((False, layout.data), (True, layout.expert_data)):
        numbers = sum(
            local_numbers(weight, layout) for weight in replicated if weight.expert == expert
        )
        group: Group = "expert data" if expert else "data"
        if size > 1 and numbers:
            found.append(Call("DP gradients", "all-reduce", group, size, 4.0 * numbers))
            if layout.zero:
                found.append(
                    Call("ZeRO updates", "broadcast", group, size, float(work.width * numbers))
                )
    return tuple(found)


# ---------------------------------------------------------------- within a micro-batch


def _tensor(work: Workload, choice: Choice, stage: int) -> Iterator[Call]:
    layout = choice.layout
    if layout.tensor == 1:
        return
    plan, state = (
        stage_plan(work, layout.pipeline),
        work.width * work.sizes.hidden * choice.micro_batch,
    )
    encoder, decoder = plan.layers("encoder", stage), plan.layers("decoder", stage)
    yield from _sublayers(choice, work, state * work.source, 2 * len(encoder), len(encoder))
    yield from _sublayers(choice, work, state * work.target, 3 * len(decoder), len(decoder))

    def reduced(payload: float, times: float = 1) -> Call:
        return Call("TP", "all-reduce", "tensor", layout.tensor, payload, times)

    if decoder:
        yield reduced(state * work.source, len(decoder))
    yield from _borders(work, choice, state, bool(encoder), bool(decoder))
    if stage == 0:
        yield reduced(state * work.source)
    if decoder and decoder.start == 0:
        yield reduced(state * work.target)
    if stage == plan.last:
        rows = choice.micro_batch * work.target
        yield reduced(16.0 * rows)
        yield reduced(state * work.target)


def _sublayers(
    choice: Choice, work: Workload, payload: float, number: int, layers: int
) -> Iterator[Call]:
    """Each sublayer is a column-split product, then a row-split one."""
    size = choice.layout.tensor
    if not number:
        return
    again = number if choice.recompute else 0
    if (
        choice.recompute
        and work.model.dropout == 0
        and work.model.norm == "pre"
        and not work.model.scale_resids
    ):
        again -= layers  # the last product of a layer is not computed again
    if choice.layout.sequence:
        column = number + (number if choice.recompute else 0)
        yield Call("TP", "all-gather", "tensor", size, payload, column + 2 * number)
        yield Call("TP", "reduce-scatter", "tensor", size, payload, 2 * number + again)
    else:
        yield Call("TP", "all-reduce", "tensor", size, payload, 2 * number + again)
    if work.model.scale_fc:
        yield Call(
            "TP",
            "all-reduce",
            "tensor",
            size,
            payload / work.sizes.hidden / work.width * 4,
            4 * layers,
        )


def _borders(
    work: Workload, choice: Choice, state: float, encodes: bool, decodes: bool
) -> Iterator[Call]:
    """Where a stack of layers begins and ends under sequence parallelism; biases of absolute positions."""
    size, sides = choice.layout.tensor, ((encodes, work.source), (decodes, work.target))
    for present, length in sides:
        if present and choice.layout.sequence:
            yield Call("TP", "all-gather", "tensor", size, state * length, 2)
    if work.scheme.width:
        lengths = 2 * work.source * encodes + (3 * work.target + work.source) * decodes
        yield Call("TP", "all-reduce", "tensor", size, state * lengths)


def _experts(work: Workload, choice: Choice, stage: int) -> Iterator[Call]:
    """Positions travel to their experts and back, and so do gradients; evenly spread."""
    layout = choice.layout
    if layout.expert == 1:
        return
    plan = stage_plan(work, layout.pipeline)
    positions = (
        len(plan.layers("encoder", stage)) * work.source
        + len(plan.layers("decoder", stage)) * work.target
    )
    payload = work.width * work.sizes.hidden * choice.micro_batch * work.copies * positions
    times = 6 if choice.recompute else 4
    yield Call("EP", "all-to-all", "expert", layout.expert, payload, times)


def _pipeline(work: Workload, choice: Choice, stage: int) -> Iterator[Call]:
    """States forward, their gradients backward."""
    plan, hidden = stage_plan(work, choice.layout.pipeline), work.width * work.sizes.hidden
    start = plan.stages_of("decoder")[0]

    def rows(sender: int) -> int:
        return choice.micro_batch * (work.source + (work.target if sender >= start else 0)) + 1

    if stage < plan.last:
        yield Call("PP", "send", "pipeline", plan.last + 1, hidden * rows(stage))
    if stage > 0:
        yield Call("PP", "send", "pipeline", plan.last + 1, hidden * rows(stage - 1))


def _fsdp(work: Workload, choice: Choice, stage: int) -> Iterator[Call]:
    """Each layer is gathered forward and again backward; its gradient is summed in fp32 in every micro-batch."""
    layout = choice.layout
    numbers = sharded_numbers(work, layout, stage)
    if numbers:
        yield Call("FSDP", "all-gather", "data", layout.data, float(work.width * numbers), 2)
        yield Call("FSDP", "reduce-scatter", "data", layout.data, 4.0 * numbers)


def stride(group: Group, layout: ProcessGrid) -> int:
    """How many ranks a group spans, from its first to behind its last."""
    model = layout.tensor
    spans = {
        "tensor": model,
        "expert": model * layout.expert,
        "data": model * layout.data,
        "expert data": model * layout.data,
        "pipeline": model * layout.data * 2,
    }
    return spans[group]
