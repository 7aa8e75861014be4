"""Sounds to samples, for towers that hear them as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ofa_modality_speech.picture import player
from ofa_modality_speech.reading import slot_wave
from ofacore.protocols import (
    Artifact,
    Block,
    DenseSegment,
    Hypothesis,
    Options,
    RowContext,
    RowError,
    Segment,
    SlotPlan,
    TargetSpec,
    Vocabulary,
)


class WavePreprocessor:
    """``audio_wave``: samples at the slot's rate, of a source alone. Features: ``samples`` float32 [n]."""

    def __init__(self, options: Options) -> None:
        self._options = dict(options)

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """Nothing is learned."""
        return None

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """No tokens."""
        return ()

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Needs neither."""

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One segment of shape (samples,).

        Raises:
            RowError: The value is no sound, but features.
        """
        samples = slot_wave(value, slot, ctx)
        if not isinstance(samples, np.ndarray):
            raise RowError(f"column '{slot.name}': a tower hears samples, not ready-made features")
        return [DenseSegment({"samples": samples}, (len(samples),))]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """It is never a target.

        Raises:
            RowError: Always.
        """
        raise RowError(f"column '{slot.name}': samples cannot be an output; use preprocess=audio")

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Any:
        """The samples."""
        return hypothesis.value

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """A player and a spectrogram."""
        return player(value)
