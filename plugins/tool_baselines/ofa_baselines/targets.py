"""What a task asks for: one of some classes, a number, numbers of fixed count, or anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ofacore.protocols import BaselineTask

_SHARE = 0.2
"""An open value counts as a class where there are at most this many different ones for each row."""


def classes(task: BaselineTask, most: int) -> list[Any] | None:
    """The target of every training row as a class; None where they are no classes."""
    values = list(task.targets)
    if not all(isinstance(value, str | int | float | bool) for value in values):
        return None
    different = len(set(values))
    limit = most if task.closed else min(most, _SHARE * len(values))
    return values if 1 < different <= limit else None


def is_labels(value: Any) -> bool:
    """Whether a target is a list of texts."""
    return isinstance(value, list | tuple) and all(isinstance(part, str) for part in value)


def numbers(task: BaselineTask) -> np.ndarray | None:
    """float64 [rows, count] of targets that are numbers, or lists of equally many; None where they are not."""
    if task.closed:
        return None
    rows = [value if isinstance(value, list | tuple) else [value] for value in task.targets]
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        return None
    try:
        found = np.array([list(map(float, row)) for row in rows], np.float64)
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found).all() else None


def as_written(task: BaselineTask, predicted: np.ndarray) -> list[Any]:
    """Predicted numbers [rows, count] in the form of the targets."""
    if isinstance(task.targets[0], list | tuple):
        return [list(map(float, row)) for row in predicted]
    return [float(row[0]) for row in predicted]


def taken(task: BaselineTask, places: Sequence[int]) -> list[Any]:
    """Targets of some training rows."""
    return [task.targets[place] for place in places]
