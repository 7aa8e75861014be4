"""Which task each row belongs to that the layers read, for low-rank updates that differ by task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ofacore.protocols import Layout

RowsOfTask = tuple[str, Tensor | None]
"""A task and its rows int64 [n]; None: all rows are its."""


class RowOwners:
    """Told before the layers run; asked while they do, and only where updates differ by task."""

    def __init__(self) -> None:
        self._rows: tuple[Layout, Tensor] | None = None
        self._found: Sequence[RowsOfTask] = ()

    def note(self, layout: Layout, first: Tensor) -> None:
        """The layers read these rows.

        Args:
            layout: Of the stream that they come from.
            first: int64 [s]: place there of each row's first position.
        """
        self._rows = layout, first

    def note_one(self, task: str) -> None:
        """The layers read rows of one task."""
        self._rows, self._found = None, ((task, None),)

    def now(self) -> Sequence[RowsOfTask]:
        """Tasks of the rows that the layers read."""
        if self._rows is not None:
            self._found, self._rows = _parted(*self._rows), None
        return self._found

    def checkpoint(self, function: Callable[..., Any], *inputs: Any, **named: Any) -> Any:
        """Call a layer whose activations are computed again in the backward pass, for the same rows."""
        owners = self.now()

        def again(*inputs: Any, **named: Any) -> Any:
            before, self._rows, self._found = self.now(), None, owners
            try:
                return function(*inputs, **named)
            finally:
                self._found = before

        return checkpoint(again, *inputs, use_reentrant=False, **named)


def _parted(layout: Layout, first: Tensor) -> Sequence[RowsOfTask]:
    task = layout.task[first]
    present = sorted(set(task.tolist()))
    if len(present) == 1:
        return ((layout.tasks[present[0]], None),)
    return tuple((layout.tasks[n], (task == n).nonzero()[:, 0]) for n in present)
