"""``duration_correlation``: whether long texts become long sounds, as those of the references are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ofa_modality_speech.metrics.cepstrum import samples_of
from ofacore.protocols import Options


class DurationCorrelation:
    """Pearson's correlation of the lengths of sounds with those of their references; nan where all are equally long."""

    higher_is_better: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self._pairs: list[tuple[float, float]] = []

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
            self._pairs.append((_seconds(prediction), _seconds(reference)))

    def compute(self) -> dict[str, float]:
        """``duration_correlation``, -1 to 1."""
        lengths = np.array(sorted(self._pairs)).reshape(-1, 2)
        spread = np.ptp(lengths, axis=0) if len(lengths) else np.zeros(2)
        if not spread.all():
            return {"duration_correlation": float("nan")}
        return {"duration_correlation": float(np.corrcoef(lengths.T)[0, 1])}

    def merge(self, other: DurationCorrelation) -> None:
        """Add what another instance has seen."""
        self._pairs += other._pairs

    def items(self) -> Sequence[float]:
        """Empty: a correlation belongs to no single pair."""
        return ()


def _seconds(value: Any) -> float:
    samples, rate = samples_of(value)
    return len(samples) / rate
