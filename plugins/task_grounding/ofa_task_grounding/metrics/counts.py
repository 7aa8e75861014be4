"""Errors in the number of objects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from ofa_task_grounding.metrics.boxes import as_boxes, check_lengths
from ofacore.protocols import Options


class CountError:
    """``count_error``: mean absolute difference between the numbers of predicted and real boxes."""

    higher_is_better: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        self._items: list[float] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add lists of boxes.

        Raises:
            ValueError: Lists of unequal length, or a value that is no list of boxes.
        """
        check_lengths("count_error", predictions, references, rows)
        for number, pair in enumerate(zip(predictions, references, strict=True)):
            ours, theirs = (len(as_boxes(value, f"count_error, sample {number}")) for value in pair)
            self._items.append(float(abs(ours - theirs)))

    def compute(self) -> dict[str, float]:
        """``count_error``; nan where nothing was added."""
        return {
            "count_error": math.fsum(self._items) / len(self._items) if self._items else math.nan
        }

    def merge(self, other: Self) -> None:
        """Add what another instance has seen."""
        self._items += other._items

    def items(self) -> Sequence[float]:
        """The difference of each sample."""
        return self._items
