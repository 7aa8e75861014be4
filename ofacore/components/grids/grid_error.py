"""How far grids of numbers are from others, on average over pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ofacore.components.grids.grid_array import written_shape
from ofacore.components.grids.modality import author_function
from ofacore.protocols import Options


class GridError:
    """Mean of an error over all pairs of answer and reference, both in the base unit.

    Of several references the nearest counts. Answers of a repeated slot are compared in their order; the error is
    infinite where there are more or fewer of them than references.

    Options: ``name`` of the value; ``score``, ``"module:function"`` of (answer, reference), arrays of one shape; empty
    for the mean absolute difference.
    """

    higher_is_better: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        self._name, self._score = str(options["name"]), str(options["score"])
        self._errors: list[float] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add the error of each pair.

        Raises:
            ValueError: An answer has another shape than its reference.
        """
        pairs = zip(predictions, references, strict=True)
        self._errors += [self._row(given, right) for given, right in pairs]

    def compute(self) -> dict[str, float]:
        """The mean; nan where nothing was seen."""
        return {self._name: float(np.mean(self._errors)) if self._errors else float("nan")}

    def merge(self, other: GridError) -> None:
        """Add what another has seen."""
        self._errors += other._errors

    def items(self) -> Sequence[float]:
        """The error of each pair."""
        return self._errors

    def _row(self, given: Any, right: Any) -> float:
        """The error of one row, whose answer or reference may be a list of grids."""
        if _is_several(given) and _is_several(right):
            if len(given) != len(right):
                return float("inf")
            return float(
                np.mean([self._row(one, other) for one, other in zip(given, right, strict=True)])
            )
        if _is_several(right):
            return min(self._row(given, one) for one in right)
        return self._error(np.asarray(given, float), np.asarray(right, float))

    def _error(self, given: np.ndarray, right: np.ndarray) -> float:
        if given.shape != right.shape:
            shapes = f"{written_shape(given.shape)} numbers, its reference of {written_shape(right.shape)}"
            raise ValueError(
                f"{self._name}: an answer is a grid of {shapes}; a written size must be the reference's"
            )
        if not self._score:
            return float(np.abs(given - right).mean())
        return float(author_function("score", self._score)(given, right))


def _is_several(value: Any) -> bool:
    """Whether it is a list of grids; these come as arrays, so nested lists are one grid."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(part, np.ndarray) and part.ndim for part in value)
    )
