"""What the metrics of this package share: one number a sample, and their mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from ofacore.protocols import Options


class MeanMetric:
    """Collects one number for each sample; the score is their mean."""

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self.options = options
        self._items: list[float] = []

    def sample(self, prediction: Any, references: Sequence[Any], row: Mapping[str, Any]) -> float:
        """The number of one sample.

        Raises:
            ValueError: A reference cannot be used.
        """
        raise NotImplementedError

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add predictions with their references; nothing is added where one of them raises.

        Raises:
            ValueError: Unequal numbers, or a reference that cannot be used.
        """
        if not len(predictions) == len(references) == len(rows):
            raise ValueError(
                f"{self.name}: {len(predictions)} predictions, {len(references)} references, {len(rows)} rows"
            )
        added = []
        for prediction, reference, row in zip(predictions, references, rows, strict=True):
            added.append(self.sample(prediction, self.several(reference), row))
        self._items += added

    def several(self, reference: Any) -> Sequence[Any]:
        """A reference or a list of them, as a list."""
        found = reference if isinstance(reference, list | tuple) else [reference]
        if not found or any(one is None for one in found):
            raise ValueError(f"{self.name}: there is no reference")
        return found

    def compute(self) -> dict[str, float]:
        """The mean under the metric's name; nan where nothing was added."""
        return {self.name: mean(self._items)}

    def merge(self, other: Self) -> None:
        """Add what another instance has seen."""
        self._items += other._items

    def items(self) -> Sequence[float]:
        """The number of each sample."""
        return self._items


def mean(numbers: Sequence[float]) -> float:
    """The mean, the same in any order; nan of nothing."""
    return math.fsum(numbers) / len(numbers) if numbers else math.nan
