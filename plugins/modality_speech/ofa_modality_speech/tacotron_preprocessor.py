"""Sounds that are written one step after the other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ofa_modality_speech.preprocessor import AudioPreprocessor
from ofa_modality_speech.reading import normalised, slot_frames
from ofa_modality_speech.shapes import packed
from ofacore.protocols import DenseSegment, RowContext, Segment, SlotPlan, TargetSpec


class StepPreprocessor(AudioPreprocessor):
    """``audio_steps``: log-mel frames, each step of which sees those before it.

    Features: ``steps`` float32 [steps, bins * max_frames_per_step], the frames of the step before, zeros at first.
    Labels: ``values`` float32 and ``mask`` bool of the same shape, ``stop`` float32 [steps], 1 at the last.
    """

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One segment of shape (steps,): causal and shifted in a target, as it is in a source.

        Raises:
            RowError: The value is no sound.
        """
        found = slot_frames(value, slot, ctx, self.bins)
        frames = self._padded(normalised(found, slot, self._statistics))
        if slot.side == "source":
            steps = packed(frames, 1, self.bins * self.most_packed)
            return [DenseSegment({"steps": steps}, (len(steps),))]
        whole = self._written(frames, found, replace(slot, loss=True))
        labels = dict(whole.labels or {})
        values = labels["values"]
        before = np.concatenate([np.zeros_like(values[:1]), values[:-1]])
        stop = np.zeros(len(values), np.float32)
        stop[-1] = 1.0
        learned = {**labels, "stop": stop} if slot.loss else None
        return [DenseSegment({"steps": before}, (len(values),), learned, causal=True)]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """The model ends it itself, unless the attribute ``seconds`` says how long it is.

        Publishes an `AskedAudio` for the generator.

        Raises:
            RowError: The attribute says nothing that could be.
        """
        own = {name: value for name, value in ctx.row.items() if name != slot.name}
        spec = super().expect(slot, replace(ctx, row=own))
        return spec if slot.attributes.get("seconds") else replace(spec, length=None)
