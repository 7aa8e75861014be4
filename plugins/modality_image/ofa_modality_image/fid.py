"""How far written pictures, all together, are from their references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ofa_modality_image.loading import load_image
from ofa_modality_image.picture_features import PictureFeatures, picture_features
from ofacore.protocols import Options


class Fid:
    """``fid``: Fréchet distance of features of written pictures and references (Heusel et al. 2017), by torchmetrics.

    Features are those of Inception, or with option ``path`` those of an encoder in that folder: scores compare where
    the encoder is the same. Few pictures make it larger, so that scores compare where their number is the same, too.
    Of several pictures of a row, as a repeated slot writes them, all count; of several references the first does.
    """

    higher_is_better: ClassVar[bool] = False
    redrawn: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        self._path, self._weights = str(options["path"]), str(options["weights"])
        self._features: PictureFeatures | None = None
        self._answers: list[np.ndarray] = []
        self._references: list[np.ndarray] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add written pictures and their references.

        Raises:
            UserError: There is neither Inception with its weights nor an encoder.
        """
        for given, right in zip(predictions, references, strict=True):
            first = right[0] if isinstance(right, list) else right
            reference = self._seen(first, "reference")
            several = given if isinstance(given, list) else [given]
            self._answers += [self._seen(one, "answer") for one in several]
            self._references.append(reference)

    def compute(self) -> dict[str, float]:
        """``fid``; nan with fewer than two answers or references."""
        if min(len(self._answers), len(self._references)) < 2:
            return {"fid": float("nan")}
        import torch
        from torchmetrics.image.fid import FrechetInceptionDistance

        as_they_are = torch.nn.Identity()
        as_they_are.num_features = len(self._answers[0])
        distance = FrechetInceptionDistance(feature=as_they_are)
        distance.update(torch.from_numpy(np.stack(self._references)), real=True)
        distance.update(torch.from_numpy(np.stack(self._answers)), real=False)
        return {"fid": max(0.0, float(distance.compute()))}

    def merge(self, other: Fid) -> None:
        """Add what another has seen."""
        self._answers += other._answers
        self._references += other._references

    def items(self) -> Sequence[float]:
        """Nothing: it is a distance of distributions."""
        return []

    def _seen(self, picture: Any, column: str) -> np.ndarray:
        self._features = self._features or picture_features(self._path, self._weights)
        return self._features(load_image(picture, column))
