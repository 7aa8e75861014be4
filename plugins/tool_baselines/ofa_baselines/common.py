"""What comes most often, and the middle of numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ofa_baselines.targets import as_written, is_labels, numbers
from ofacore.protocols import BaselineAnswers, BaselineTask, Options


class Common:
    """The same answer for every row."""

    def __init__(self, options: Options) -> None:
        """No options."""

    def __call__(self, task: BaselineTask) -> BaselineAnswers | None:
        found = numbers(task)
        if found is not None:
            several = isinstance(task.targets[0], list | tuple)
            middle = found.mean(axis=0) if several else np.median(found, axis=0)
            name = "mean" if several else "median"
            (value,) = as_written(task, middle[None])
            return BaselineAnswers(name, [value] * len(task.test))
        if all(isinstance(value, str | int | float | bool) for value in task.targets):
            return BaselineAnswers("majority", [_most_frequent(task.targets)] * len(task.test))
        if all(is_labels(value) for value in task.targets):
            best = list(_most_frequent([tuple(value) for value in task.targets]))
            return BaselineAnswers("majority", [best] * len(task.test))
        return None


def _most_frequent(values: Sequence[Any]) -> Any:
    counts: Counter[Any] = Counter(values)
    most = max(counts.values())
    return min((value for value, count in counts.items() if count == most), key=str)
