"""Whether a written picture is nearer to its own reference than to those of other rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from ofa_modality_image.loading import load_image
from ofacore.protocols import Options

_SIDE = 8


class ImageRetrieval:
    """``image_retrieval``: how often a written picture's own reference is among the ``k`` nearest of all rows.

    Pictures are as far apart as the colours of 8 x 8 cells: mean squared difference. An answer that does not depend on
    the row scores k of the number of rows. Of several references the first counts.
    """

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
        """Add written pictures and their references."""
        for given, right in zip(predictions, references, strict=True):
            first = right[0] if isinstance(right, list) else right
            self._answers.append(_cells(given, "answer"))
            self._references.append(_cells(first, "reference"))

    def compute(self) -> dict[str, float]:
        """``image_retrieval``: share of hits; nan where nothing was added."""
        hits = self.items()
        return {"image_retrieval": float(np.mean(hits)) if hits else float("nan")}

    def merge(self, other: ImageRetrieval) -> None:
        """Add what another has seen."""
        self._answers += other._answers
        self._references += other._references

    def items(self) -> Sequence[float]:
        """For each row the chance to find its reference, where equally near ones are taken in a random order."""
        if not self._answers:
            return []
        answers, references = np.stack(self._answers), np.stack(self._references)
        found = []
        for number, answer in enumerate(answers):
            distances = ((references - answer) ** 2).mean(axis=1)
            nearer = int((distances < distances[number]).sum())
            equal = int((distances == distances[number]).sum())
            found.append(float(np.clip((self._k - nearer) / equal, 0.0, 1.0)))
        return found


def _cells(value: Any, column: str) -> np.ndarray:
    """float64 [192]."""
    small = load_image(value, column).resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float64).reshape(-1)
