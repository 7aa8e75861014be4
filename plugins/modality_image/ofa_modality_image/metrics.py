"""How near written pictures are to their references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from ofa_modality_image.loading import load_image
from ofacore.protocols import Options

if TYPE_CHECKING:
    from torch import Tensor

_BEST_DECIBELS = 100.0
_WINDOW = 11


class _PictureScore:
    """Mean of a score over pictures; of several references the nearest counts."""

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self._scores: list[float] = []

    def score(self, given: Tensor, right: Tensor) -> float:
        """Of two pictures of one size, float32 [1, 3, height, width] in 0 to 1."""
        raise NotImplementedError

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add pictures; an answer of another size than its reference is resized to it."""
        for given, right in zip(predictions, references, strict=True):
            several = right if isinstance(right, list) else [right]
            self._scores.append(max(self._pair(given, one) for one in several))

    def compute(self) -> dict[str, float]:
        """The mean; nan where nothing was seen."""
        return {self.name: float(np.mean(self._scores)) if self._scores else float("nan")}

    def merge(self, other: _PictureScore) -> None:
        """Add what another has seen."""
        self._scores += other._scores

    def items(self) -> Sequence[float]:
        """The score of each pair."""
        return self._scores

    def _pair(self, given: Any, right: Any) -> float:
        reference, answer = load_image(right, "reference"), load_image(given, "answer")
        if answer.size != reference.size:
            answer = answer.resize(reference.size, Image.Resampling.BICUBIC)
        return self.score(_tensor(answer), _tensor(reference))


class Psnr(_PictureScore):
    """Peak signal-to-noise ratio in dB, by torchmetrics; pictures that are equal count as 100 dB."""

    name = "psnr"

    def score(self, given: Tensor, right: Tensor) -> float:
        from torchmetrics.functional.image import peak_signal_noise_ratio

        found = float(peak_signal_noise_ratio(given, right, data_range=1.0))
        return min(found, _BEST_DECIBELS)


class Ssim(_PictureScore):
    """Structural similarity (Wang et al. 2004) by torchmetrics, -1 to 1; pictures below 12 pixels get a smaller, even
    window."""

    name = "ssim"

    def score(self, given: Tensor, right: Tensor) -> float:
        from torchmetrics.functional.image import structural_similarity_index_measure

        side = min(right.shape[2:])
        found: Any = structural_similarity_index_measure(
            given,
            right,
            gaussian_kernel=side > _WINDOW,
            kernel_size=min(_WINDOW, side - 1 + side % 2),
            data_range=1.0,
        )
        return float(found)


def _tensor(image: Image.Image) -> Tensor:
    import torch

    pixels = torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 255)
    return pixels.permute(2, 0, 1)[None]
