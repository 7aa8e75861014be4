"""The validation loss of a merged model, measured by what the best of the runs reaches on each task."""

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
"""A loss that is as good as none: ratios to smaller ones would say nothing."""


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
    for name, value in Validator(generalist)(0).items():
        by_task.setdefault(name.split("/")[1], []).append(value)
    return {task: sum(values) / len(values) for task, values in by_task.items()}


@dataclass
class RelativeLoss:
    """Weights -> mean over tasks of the merged model's validation loss, each divided by the best run's.

    1 is as good as the specialists. What is measured depends on the weights alone.
    """

    combination: Combination
    generalist: Generalist
    """The merged model; its weights are replaced at every call."""
    best: Mapping[str, float]
    """Task -> the smallest loss of a run."""

    def __call__(self, weights: Sequence[float]) -> float:
        self.generalist.model.load_portable(self.combination.all(lambda name: weights))
        losses = task_losses(self.generalist)
        shares = [
            value / max(self.best[task], _LEAST)
            for task, value in losses.items()
            if task in self.best
        ]
        found = sum(shares) / len(shares)
        return found if isfinite(found) else float("inf")


def best_losses(runs: Sequence[OpenedRun], data: Mapping[str, TaskRows]) -> dict[str, float]:
    """Task -> the smallest validation loss of a run that has it; one model is in memory at a time.

    Raises:
        UserError: No task has a loss that can be compared.
    """
    best: dict[str, float] = {}
    for run in runs:
        generalist = load(run.place, None)
        generalist.data = {name: data[name] for name in run.tasks if name in data}
        for task, value in task_losses(generalist).items():
            if isfinite(value):
                best[task] = min(value, best.get(task, value))
    if not best:
        raise UserError("no task has a validation loss to choose weights by; give --weights")
    return best
