"""``speech_quality``: how good a voice sounds, without a reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ofa_modality_speech.metrics.cepstrum import samples_of
from ofa_modality_speech.wave import resampled
from ofacore.plugin import UserError
from ofacore.protocols import Options

_RATE = 16_000


class SpeechQuality:
    """Mean opinion score, 1 to 5, that DNSMOS (Reddy et al. 2021) predicts; needs the package `speechmos`."""

    higher_is_better: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self._scores: list[float] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add sounds; references are not looked at.

        Raises:
            UserError: The package is not installed.
            ValueError: A prediction is no sound.
        """
        judge = _judge()
        for prediction in predictions:
            samples, rate = samples_of(prediction)
            self._scores.append(judge(_loud(resampled(samples, rate, _RATE))))

    def compute(self) -> dict[str, float]:
        """``speech_quality``; nan where nothing was added."""
        return {"speech_quality": float(np.mean(self._scores)) if self._scores else float("nan")}

    def merge(self, other: SpeechQuality) -> None:
        """Add what another instance has seen."""
        self._scores += other._scores

    def items(self) -> Sequence[float]:
        """The score of each sound."""
        return self._scores


def _loud(samples: np.ndarray) -> np.ndarray:
    """Within -1 to 1, which `speechmos` asks for."""
    return samples / max(1.0, float(np.abs(samples).max(initial=0.0)))


@lru_cache(maxsize=1)
def _judge() -> Callable[[np.ndarray], float]:
    try:
        from speechmos import dnsmos
    except ImportError as error:
        raise UserError("metric speech_quality needs speechmos: pip install speechmos") from error
    return lambda samples: float(dnsmos.run(samples, sr=_RATE)["ovrl_mos"])
