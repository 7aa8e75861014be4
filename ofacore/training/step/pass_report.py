"""What is known after a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ofacore.protocols import Batch
from ofacore.training.step.faults import Fault


@dataclass(frozen=True)
class StepReport:
    """Result of one step, for callbacks."""

    step: int
    """Steps done so far; the first report says 1."""
    values: Mapping[str, float]
    """``train/task/slot...`` -> mean loss per unit, and parts below it."""
    norm: float
    """Gradient norm before clipping."""
    lr: float
    """Factor of the learning-rate curve."""
    samples: int
    positions: int
    """Real positions of source and target."""
    seconds: float
    """Wall time of the step, loading included."""
    cpu_seconds: float
    """Processor time of this process in it, over all threads."""
    faults: Sequence[Fault] = ()


def positions_of(batches: Sequence[Batch]) -> int:
    """Real positions, source and target, of micro-batches."""
    sides = [side for batch in batches for side in (batch.source, batch.target) if side is not None]
    return sum(side.layout.positions for side in sides)
