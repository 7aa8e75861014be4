"""Which references a written picture is near to: its own, or those of its class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from ofa_modality_image.loading import load_image
from ofacore.protocols import Options

_SIDE = 8


class _Nearest:
    """Written pictures and the references of all rows, as far apart as the colours of 8 x 8 cells: mean squared."""

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self._k = int(options["k"])
        self._answers: list[np.ndarray] = []
        self._references: list[np.ndarray] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add written pictures and their references; of several references the first counts."""
        firsts = [right[0] if isinstance(right, list) else right for right in references]
        answered = [_cells(given, "answer") for given in predictions]
        self._references += [_cells(first, "reference") for first in firsts]
        self._answers += answered

    def compute(self) -> dict[str, float]:
        """Share of hits; nan where nothing was added."""
        hits = self.items()
        return {self.name: float(np.mean(hits)) if hits else float("nan")}

    def merge(self, other: Any) -> None:
        """Add what another has seen."""
        self._answers += other._answers
        self._references += other._references

    def items(self) -> Sequence[float]:
        """One number for each row."""
        if not self._answers:
            return []
        references = np.stack(self._references)
        return [
            self.hit(number, ((references - answer) ** 2).mean(axis=1))
            for number, answer in enumerate(self._answers)
        ]

    def hit(self, row: int, distances: np.ndarray) -> float:
        """What a row's picture scores, 0 to 1, by its distances float64 [rows] from all references."""
        raise NotImplementedError


class ImageRetrieval(_Nearest):
    """``image_retrieval``: how often a written picture's own reference is among the ``k`` nearest of all rows.

    An answer that does not depend on the row scores k of the number of rows.
    """

    name = "image_retrieval"

    def hit(self, row: int, distances: np.ndarray) -> float:
        """The chance to find its reference, where equally near ones are taken in a random order."""
        nearer = int((distances < distances[row]).sum())
        equal = int((distances == distances[row]).sum())
        return float(np.clip((self._k - nearer) / equal, 0.0, 1.0))


class ImageClass(_Nearest):
    """``image_class``: how often most of the ``k`` references that are nearest to a written picture have its class.

    Where a row's own reference is written out, this is the accuracy of a nearest-neighbour classifier on pictures it
    knows. Classes are those of a ``column`` of the rows. Of classes that are equally frequent the nearer one counts.
    """

    name = "image_class"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._column = str(options["column"])
        self._classes: list[str] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add written pictures, their references and classes."""
        for row in rows:
            if self._column not in row:
                raise ValueError(
                    f"metric 'image_class': the row has no column '{self._column}'; name the one that holds the class, "
                    "{metric: image_class, options: {column: NAME}}"
                )
        super().update(predictions, references, rows)
        self._classes += [str(row[self._column]) for row in rows]

    def merge(self, other: Any) -> None:
        """Add what another has seen."""
        super().merge(other)
        self._classes += other._classes

    def hit(self, row: int, distances: np.ndarray) -> float:
        """1 where the class of most of its neighbours is the row's own."""
        nearest = np.argsort(distances, kind="stable")[: self._k]
        votes = Counter(self._classes[number] for number in nearest)
        return float(votes.most_common(1)[0][0] == self._classes[row])


def _cells(value: Any, column: str) -> np.ndarray:
    """float64 [192]."""
    small = load_image(value, column).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float64).reshape(-1)
