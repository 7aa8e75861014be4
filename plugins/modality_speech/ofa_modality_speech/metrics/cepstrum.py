"""``mel_cepstral_distance``: how far apart two voices sound, whatever their tempo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ofa_modality_speech.features import log_mel
from ofa_modality_speech.loading import Features, Loader
from ofa_modality_speech.metrics.warping import warped
from ofa_modality_speech.wave import resampled
from ofacore.protocols import Options

RATE, BINS = 22_050, 80
_DECIBELS = 10.0 * np.sqrt(2.0) / np.log(10.0)


class MelCepstralDistance:
    """Mean distance in decibels along the warped path of two sounds (Kubichek 1993).

    Mel cepstra are the coefficients of a cosine series of log-mel frames at 22,050 Hz; the first, their loudness, is
    left out. Option ``coefficients``: how many there are, that one included. Of several references the nearest counts.
    """

    higher_is_better: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        self._coefficients = int(options.get("coefficients", 13))
        self._distances: list[float] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add pairs of sounds.

        Raises:
            ValueError: One of them is no sound.
        """
        for prediction, reference in zip(predictions, references, strict=True):
            ours = self._cepstra(prediction)
            self._distances.append(min(self._distance(ours, one) for one in _several(reference)))

    def compute(self) -> dict[str, float]:
        """``mel_cepstral_distance`` in decibels; nan where nothing was added."""
        mean = float(np.mean(self._distances)) if self._distances else float("nan")
        return {"mel_cepstral_distance": mean}

    def merge(self, other: MelCepstralDistance) -> None:
        """Add what another instance has seen."""
        self._distances += other._distances

    def items(self) -> Sequence[float]:
        """The distance of each pair."""
        return self._distances

    def _distance(self, ours: np.ndarray, reference: Any) -> float:
        gaps = ours[:, None] - self._cepstra(reference)[None]
        total, pairs = warped(_DECIBELS * np.sqrt((gaps**2).sum(axis=2)))
        return total / pairs

    def _cepstra(self, value: Any) -> np.ndarray:
        """float64 [frames, coefficients - 1]."""
        frames = log_mel_of(value)
        bins = frames.shape[1]
        angles = (np.arange(bins) + 0.5) * np.pi / bins
        waves = np.cos(angles[:, None] * np.arange(1, self._coefficients))
        return frames.astype(np.float64) @ waves / bins


def _several(reference: Any) -> list[Any]:
    """A sound or a list of them, as a list."""
    listed = isinstance(reference, list) and bool(reference)
    return reference if listed and all(map(_is_whole, reference)) else [reference]


def _is_whole(value: Any) -> bool:
    """Whether a value is a sound, and no part of one."""
    return isinstance(value, Mapping | str | Path | bytes | tuple)


def log_mel_of(value: Any) -> np.ndarray:
    """float32 [frames, bins] that a value brings, else those of its samples at 22,050 Hz."""
    if isinstance(value, Mapping) and value.get("frames") is not None:
        return np.asarray(value["frames"], np.float32)
    samples, rate = samples_of(value)
    return log_mel(resampled(samples, rate, RATE), RATE, BINS)


def samples_of(value: Any) -> tuple[np.ndarray, int]:
    """float32 [samples] and their rate.

    Raises:
        ValueError: The value has no samples.
    """
    loaded = Loader("audio").load(value)
    if isinstance(loaded, Features):
        raise ValueError("these are features, which have no samples to judge")
    return loaded.mono(), loaded.rate
