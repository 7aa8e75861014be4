"""Sounds to samples, for towers that hear them as they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ofa_modality_speech.picture import player
from ofa_modality_speech.reading import slot_wave
from ofa_modality_speech.tower_config import RATE
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

_OTHERS = ("features", "normalize", "spec_augment", "use_mask")
"""Attributes of AUDIO that mean something to frames alone."""


class WavePreprocessor:
    """``audio_wave``: 16,000 samples a second, of a source alone. Features: ``samples`` float32 [n]."""

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
            RowError: The value is no sound, but features; or the slot asks for frames, or another rate.
        """
        _check(slot)
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


def _check(slot: SlotPlan) -> None:
    """Refuse what no tower would heed; at another rate it would hear another sound.

    Raises:
        RowError: The slot asks for it.
    """
    wrong = [name for name in _OTHERS if slot.attributes.get(name)]
    wrong += ["sample_rate"] if slot.attributes.get("sample_rate") not in (None, RATE) else []
    if wrong:
        raise RowError(
            f"column '{slot.name}': a tower hears {RATE} samples a second as they are: leave {wrong[0]} out"
        )
