"""Which task each row belongs to that the layers read, for low-rank updates that differ by task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ofacore.protocols import Layout

RowsOfTask = tuple[str, Tensor | None]
"""A task and its rows int64 [n]; None: all rows are its."""


class _Group:
    """Rows that the layers read together."""

    def __init__(self, layout: Layout, first: Tensor) -> None:
        self._layout, self._first = layout, first

    @cached_property
    def tasks(self) -> Sequence[RowsOfTask]:
        """Tasks with their rows; only who asks waits for the device."""
        task, names = self._layout.task[self._first], self._layout.tasks
        present = sorted(set(task.tolist()))
        if len(present) == 1:
            return ((names[present[0]], None),)
        return tuple((names[n], (task == n).nonzero()[:, 0]) for n in present)


@dataclass(frozen=True)
class _OneTask:
    """Rows of one task."""

    tasks: Sequence[RowsOfTask]


class RowOwners:
    """Told before the layers run; asked while they do, and only where updates differ by task."""

    def __init__(self) -> None:
        self._now: _Group | _OneTask = _OneTask(())

    def note(self, layout: Layout, first: Tensor) -> None:
        """The layers read these rows.

        Args:
            layout: Of the stream that they come from.
            first: int64 [s]: place there of each row's first position.
        """
        self._now = _Group(layout, first)

    def note_one(self, task: str) -> None:
        """The layers read rows of one task."""
        self._now = _OneTask(((task, None),))

    def now(self) -> Sequence[RowsOfTask]:
        """Tasks of the rows that the layers read."""
        return self._now.tasks

    def checkpoint(self, function: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
        """Call a layer whose activations are computed again in the backward pass, for the same rows."""
        rows = self._now

        def again(*inputs: Any, **named: Any) -> Any:
            before, self._now = self._now, rows
            try:
                return function(*inputs, **named)
            finally:
                self._now = before

        return checkpoint(again, *inputs, use_reentrant=False, **named)
