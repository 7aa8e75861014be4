"""Whose positions a pass reads: what parts of the model that differ by task ask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ofacore.protocols import Layout, Side

RowsOfTask = tuple[str, Tensor | None]
"""A task and its rows int64 [n] of a stream; None: all rows are its."""


class RowTasks:
    """Which task the positions of both streams belong to, in the latest pass."""

    def __init__(self) -> None:
        self._parts: dict[Side, list[RowsOfTask]] = {}
        self._streams: dict[Side, tuple[Tensor, tuple[str, ...]]] = {}

    def of(self, side: Side) -> list[RowsOfTask]:
        """Tasks of one side, each with its rows; a task without any takes no part."""
        return self._parts.get(side, [])

    def numbers(self, side: Side, tasks: Sequence[str]) -> Tensor:
        """int64 [N]: for each position of the stream the place of its task among ``tasks``; -1: it is none of them."""
        task, names = self._streams[side]
        places = [tasks.index(name) if name in tasks else -1 for name in names]
        return torch.tensor(places, device=task.device)[task]

    def note(self, side: Side, layout: Layout) -> None:
        """A pass over a micro-batch begins."""
        counts = layout.facts.tasks if layout.facts else None
        if counts is None:
            counts = tuple(torch.bincount(layout.task, minlength=len(layout.tasks)).tolist())
        sizes = dict(zip(layout.tasks, counts, strict=True))
        present = [name for name, size in sizes.items() if size]
        self._streams[side] = layout.task, layout.tasks
        if len(present) == 1:
            self._parts[side] = [(present[0], None)]
            return
        parts = torch.argsort(layout.task, stable=True).split(list(counts))
        named = zip(layout.tasks, parts, strict=True)
        self._parts[side] = [(name, rows) for name, rows in named if sizes[name]]

    def note_one(self, task: str) -> None:
        """Everything that follows belongs to one task."""
        self._parts = {"source": [(task, None)], "target": [(task, None)]}


def task_key(task: str) -> str:
    """A task's name as the name of a module, which holds no dots."""
    return task.replace(".", "%2E")
