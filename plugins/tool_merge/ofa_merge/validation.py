"""The validation loss of a merged model, measured by those of the runs on each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from ofa_merge.combining import Combination
from ofa_merge.opened import OpenedRun
from ofacore.evaluation.validator import Validator
from ofacore.generalist.facade import Generalist
from ofacore.generalist.storing import load
from ofacore.ground.errors import UserError
from ofacore.setup.datasets import TaskRows

_LEAST = 1e-3
"""The smallest difference of losses that others are measured by."""


def with_valid(data: Mapping[str, TaskRows]) -> dict[str, TaskRows]:
    """Those tasks that have validation rows.

    Raises:
        UserError: None has.
    """
    found = {name: rows for name, rows in data.items() if rows.splits.get("valid")}
    if not found:
        remedy = "give data.valid of a task, or --weights"
        raise UserError(f"no task has validation rows to choose weights by; {remedy}")
    return found


def task_losses(generalist: Generalist) -> dict[str, float]:
    """Task -> mean validation loss over its terms."""
    generalist.model.eval()
    by_task: dict[str, list[float]] = {}
    for name, value in Validator(generalist).losses().items():
        by_task.setdefault(name.split("/")[1], []).append(value)
    return {task: sum(values) / len(values) for task, values in by_task.items()}


@dataclass(frozen=True)
class LossRange:
    """Validation losses of one task over the runs that have it."""

    best: float
    worst: float

    def placed(self, loss: float) -> float:
        """0: as good as the best run, 1: as bad as the worst; where one run alone has the task, twice its loss is 1."""
        width = self.worst - self.best
        if width < _LEAST:
            width = max(self.best, _LEAST)
        return (loss - self.best) / width


@dataclass
class RelativeLoss:
    """Weights -> mean over tasks of where the merged model's validation loss lies among those of the runs.

    Losses themselves would let the task decide that is easiest to spoil.
    """

    combination: Combination
    generalist: Generalist
    """The merged model; its weights are replaced at every call."""
    ranges: Mapping[str, LossRange]

    def __call__(self, weights: Sequence[float]) -> float:
        self.generalist.model.load_portable(self.combination.all(lambda name: weights))
        losses = task_losses(self.generalist)
        placed = [
            self.ranges[task].placed(loss) for task, loss in losses.items() if task in self.ranges
        ]
        found = sum(placed) / len(placed)
        return found if isfinite(found) else float("inf")


def loss_ranges(runs: Sequence[OpenedRun], data: Mapping[str, TaskRows]) -> dict[str, LossRange]:
    """Task -> validation losses of the runs that have it; one model is in memory at a time.

    Raises:
        UserError: No task has a loss that can be compared.
    """
    known: dict[str, list[float]] = {}
    for run in runs:
        generalist = load(run.place, None)
        generalist.data = {name: data[name] for name in run.tasks if name in data}
        for task, value in task_losses(generalist).items():
            if isfinite(value):
                known.setdefault(task, []).append(value)
    if not known:
        raise UserError("no task has a validation loss to choose weights by; give --weights")
    return {task: LossRange(min(values), max(values)) for task, values in known.items()}
