"""What data ranks tell each other about a step, so that all of them decide alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ofacore.parallel.agreement import everyones
from ofacore.parallel.process_groups import data_size
from ofacore.protocols import SampleInfo
from ofacore.training.step.weighing import TermSums
from ofacore.training.training_errors import TrainingError


@dataclass(frozen=True)
class StepFacts:
    """What is known of a step over all data ranks."""

    counts: Mapping[str, int]
    samples: int
    positions: int


def step_facts(counts: Mapping[str, int], samples: int, positions: int) -> StepFacts:
    """Sums over all data ranks."""
    if data_size() == 1:
        return StepFacts(counts, samples, positions)
    total: Counter[str] = Counter()
    found = everyones((dict(counts), samples, positions))
    for each, _, _ in found:
        total.update(each)
    return StepFacts(dict(total), sum(each[1] for each in found), sum(each[2] for each in found))


@dataclass(frozen=True)
class Outcome:
    """How one try over the micro-batches of a process went."""

    again: bool = False
    """It changed its micro-batches, and everyone starts anew."""
    memory: tuple[SampleInfo, ...] = ()
    """Samples of a micro-batch that did not fit into memory."""
    error: str = ""
    """Why this process cannot go on."""


def outcomes(own: Outcome) -> list[Outcome]:
    """Those of all data ranks.

    Raises:
        TrainingError: One of them cannot go on.
    """
    found = everyones(own)
    for rank, outcome in enumerate(found):
        if outcome.error:
            place = f"data rank {rank}: " if len(found) > 1 else ""
            raise TrainingError(f"{place}{outcome.error}")
    return found


def merged(
    sums: TermSums, bad: Sequence[SampleInfo], cause: str
) -> tuple[TermSums, list[SampleInfo], str]:
    """Reports and bad samples of all data ranks together, and the first component that any of them blames."""
    if data_size() == 1:
        return sums, list(bad), cause
    whole, samples, causes = TermSums(), list[SampleInfo](), list[str]()
    for part, found, blamed in everyones((sums, list(bad), cause)):
        whole.merge(part)
        samples += found
        causes += [blamed] if blamed else []
    return whole, samples, causes[0] if causes else ""
