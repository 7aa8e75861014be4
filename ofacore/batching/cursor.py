"""Where training stands in the data: how many samples of each task were used.

Samples of a task are numbered for ever: number ``k`` is element ``k mod n`` of epoch ``k div n``, and every epoch
has its own permutation of the ``n`` rows. So a step needs no memory of earlier ones, and resuming is O(1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ofacore.batching.permutation import Permutation, stable_key


@dataclass(frozen=True)
class SampleRef:
    """One sample of a step, before any data was read."""

    task: str
    number: int
    """Global number within the task."""
    epoch: int
    index: int
    """Row of the source."""


@dataclass(frozen=True)
class Cursor:
    """Samples used so far; immutable."""

    positions: Mapping[str, int] = field(default_factory=dict)

    def advance(self, counts: Mapping[str, int]) -> Cursor:
        """The cursor behind a step with ``counts`` samples of each task."""
        tasks = {**self.positions, **counts}
        return Cursor({task: self.positions.get(task, 0) + counts.get(task, 0) for task in tasks})

    def samples(
        self, counts: Mapping[str, int], rows: Mapping[str, int], seed: int
    ) -> list[SampleRef]:
        """The samples of the step that begins here, task by task.

        Args:
            counts: Samples of each task.
            rows: Size of each task's data.
            seed: Seed of the run.
        """
        return [
            sample_ref(task, self.positions.get(task, 0) + offset, rows[task], seed)
            for task, count in counts.items()
            for offset in range(count)
        ]

    def state(self) -> dict[str, int]:
        """JSON-ready."""
        return dict(self.positions)

    @classmethod
    def from_state(cls, state: Mapping[str, int]) -> Cursor:
        """What `state` returned."""
        return cls({str(task): int(position) for task, position in state.items()})


def sample_ref(task: str, number: int, rows: int, seed: int) -> SampleRef:
    """Which row a sample number stands for.

    Raises:
        ValueError: The task has no rows.
    """
    if rows < 1:
        raise ValueError(f"task '{task}' has no rows to draw from")
    epoch, place = divmod(number, rows)
    return SampleRef(
        task, number, epoch, Permutation(rows, stable_key("epoch", seed, task, epoch))[place]
    )


def replacement(sample: SampleRef, attempt: int, rows: int, seed: int) -> SampleRef:
    """The row that stands in for a bad one at the given attempt, counted from 1."""
    index = stable_key("replacement", seed, sample.task, sample.number, attempt) % rows
    return SampleRef(sample.task, sample.number, sample.epoch, index)
