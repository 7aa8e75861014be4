"""Sounds to normalised frames and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ofa_modality_speech.asked import AskedAudio, asked_frames
from ofa_modality_speech.features import F_MAX, F_MIN, HOP, WINDOW
from ofa_modality_speech.foreign import stored_statistics
from ofa_modality_speech.masked import hidden_labels
from ofa_modality_speech.masking import MASK_LENGTH, MASK_SHARE, hidden_spans, spec_augmented
from ofa_modality_speech.picture import player
from ofa_modality_speech.reading import (
    SERIES,
    Frames,
    key_of,
    normalised,
    rate_of,
    slot_frames,
    slot_wave,
    statistics_of,
)
from ofa_modality_speech.saving import save_sound
from ofa_modality_speech.shapes import packed, positions_of, used_mask
from ofa_modality_speech.statistics import Statistics, Totals, from_artifact, joined, to_artifact
from ofa_modality_speech.vocoders import waveform
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

FITTED_ON = 1000
"""Most clips of each slot that statistics are computed from."""


class AudioPreprocessor:
    """``audio``: Kaldi filterbank to read, log-mel to write; features that come ready-made as they are.

    Features: ``frames`` float32 [T, bins], zeros behind a value's own numbers; ``level`` float32 [positions], the share
    of noise at each: 0 where it is clean, and 1 where ``use_mask`` hides a position. Labels of a target: ``values``
    float32 and ``mask`` bool [positions, bins * max_frames_per_step]; of a source with ``use_mask`` those of
    `hidden_labels`.

    Args:
        options: ``bins``, ``max_frames_per_step`` and ``vocoder``.
    """

    foreign_fixed: ClassVar[Mapping[str, Any]] = {
        "input_type": "wave",
        "output_type": "fbank",
        "win_length": WINDOW,
        "hop_length": HOP,
        "n_fft": WINDOW,
        "f_min": F_MIN,
        "f_max": F_MAX,
    }

    def __init__(self, options: Options) -> None:
        self.bins = int(options.get("bins", 80))
        self.most_packed = int(options.get("max_frames_per_step", 4))
        self.vocoder = str(options.get("vocoder", "griffin_lim"))
        self._statistics: Mapping[str, Statistics] = {}

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """Nothing of values without a slot."""
        return None

    def fit_slots(
        self, values: Iterable[tuple[SlotPlan, Any]], rng: np.random.Generator
    ) -> Artifact | None:
        """Means, deviations and lengths of the features that slots make of at most 1000 clips each.

        Bad clips are named when they are encoded.
        """
        totals: dict[str, Totals] = {}
        seen: dict[tuple[str, str], int] = {}
        for slot, value in values:
            place = (slot.name, slot.side)
            seen[place] = seen.get(place, 0) + 1
            if seen[place] > FITTED_ON:
                continue
            try:
                frames = slot_frames(value, slot, None, self.bins)
            except RowError:
                continue
            totals.setdefault(frames.key, Totals()).add(frames.values)
        return to_artifact(totals)

    def grow(
        self,
        artifact: Artifact | None,
        values: Iterable[tuple[str, SlotPlan, Any]],
        rng: np.random.Generator,
    ) -> Artifact | None:
        """Statistics of kinds of features that the model has not seen; the others stay."""
        return joined(artifact, self.fit_slots(((slot, value) for _, slot, value in values), rng))

    @staticmethod
    def foreign_settings(settings: Mapping[str, Any]) -> Options:
        """OFASys calls the bands ``output_frame_dim``."""
        return {"bins": int(settings.get("output_frame_dim") or 80)}

    def import_files(self, folder: Path, names: Sequence[str]) -> Artifact | None:
        """Statistics of another project's model; see `stored_statistics`.

        Raises:
            PluginError: Their file is damaged.
        """
        return stored_statistics(folder, self.bins)

    def foreign_names(self, artifact: Artifact | None) -> Mapping[str, Sequence[tuple[str, ...]]]:
        """No tokens."""
        return {}

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """No tokens."""
        return ()

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Receive the statistics."""
        self._statistics = from_artifact(artifact)

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One segment: shape (frames,) of a source, (frames, frames a position) of a target.

        Raises:
            RowError: The value is no sound, or the slot cannot use it.
        """
        found = slot_frames(value, slot, ctx, self.bins)
        frames = self._padded(normalised(found, slot, self._statistics))
        if slot.side == "target":
            return [self._written(frames, found, slot)]
        shape, labels = (len(frames),), None
        level = np.zeros(positions_of(shape), np.float32)
        if ctx.split in ("train", "valid") and slot.attributes.get("use_mask"):
            hidden = hidden_spans(len(level), MASK_SHARE, MASK_LENGTH, ctx.rng)
            level[hidden] = 1.0
            labels = hidden_labels(frames, hidden)
        if ctx.split == "train" and slot.attributes.get("spec_augment"):
            frames = spec_augmented(frames, ctx.rng)
        return [DenseSegment({"frames": frames, "level": level}, shape, labels)]

    def _written(self, frames: np.ndarray, found: Frames, slot: SlotPlan) -> DenseSegment:
        if found.key.startswith(SERIES):
            raise RowError(f"column '{slot.name}': features cannot be an output; give a sound")
        step = self._step(slot)
        shape, width = (len(frames), step), self.bins * self.most_packed
        features = {"frames": frames, "level": np.zeros(positions_of(shape), np.float32)}
        if not slot.loss:
            return DenseSegment(features, shape)
        labels = {
            "values": packed(frames, step, width),
            "mask": used_mask(len(frames), self.bins, step, width),
        }
        return DenseSegment(features, shape, labels)

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """As long as the attribute ``seconds`` says, else as the row's own sound, else as the mean of training clips.

        Publishes an `AskedAudio` for the generator.

        Raises:
            RowError: Nothing says how long, or the row's own sound is unusable.
        """
        if ctx.split == "train":
            return TargetSpec(open=False)
        step = self._step(slot)
        frames = asked_frames(slot, ctx)
        asked = frames is not None
        own = None if slot.repeat else ctx.row.get(slot.name)
        if frames is None and own is not None:
            frames = len(slot_frames(own, slot, None, self.bins).values)
        if frames is None:
            frames = round(self._own_statistics(slot).length)
        width = self.bins * self.most_packed
        ctx.published.put(slot.name, AskedAudio(frames, step, self.bins, width, asked))
        return TargetSpec(open=False, length=positions_of((frames, step)))

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> dict[str, Any]:
        """A dict of ``array`` float32 [samples], ``sampling_rate``, and ``frames`` float32 [frames, bins], log-mel.

        Args:
            hypothesis: Its value: normalised frames [frames, bins].
            slot: The slot that asked for it.
            ctx: Not used.
        """
        frames = self._own_statistics(slot).restore(hypothesis.value)
        rate = rate_of(slot)
        samples = waveform(frames, rate, self.vocoder)
        return {"array": samples, "sampling_rate": rate, "frames": frames}

    def as_decoded(self, value: Any, slot: SlotPlan, ctx: RowContext) -> dict[str, Any]:
        """The part of a sound that the slot takes, at its rate, with its log-mel frames.

        Raises:
            RowError: The value is no sound.
        """
        samples = slot_wave(value, slot, None)
        if not isinstance(samples, np.ndarray):
            raise RowError(f"column '{slot.name}': features cannot be an output; give a sound")
        frames = slot_frames(value, slot, None, self.bins).values
        return {"array": samples, "sampling_rate": rate_of(slot), "frames": frames}

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """A player and a spectrogram; of ready-made features their picture alone."""
        return player(value)

    def save(self, value: Any, ctx: RowContext | None, path: Path | str) -> None:
        """Write ``.wav``, ``.flac``, ``.ogg`` or ``.mp3``.

        Raises:
            ValueError: Another ending, or the value has no samples.
        """
        save_sound(value, Path(path))

    def _padded(self, frames: np.ndarray) -> np.ndarray:
        """float32 [frames, bins] with zeros at the right."""
        return np.pad(frames, ((0, 0), (0, self.bins - frames.shape[1])))

    def _step(self, slot: SlotPlan) -> int:
        step = int(slot.attributes.get("n_frames_per_step") or 1)
        if step > self.most_packed:
            raise RowError(
                f"slot '{slot.name}': n_frames_per_step={step}, but the option max_frames_per_step is "
                f"{self.most_packed}"
            )
        return step

    def _own_statistics(self, slot: SlotPlan) -> Statistics:
        return statistics_of(key_of(slot, self.bins), slot.name, self._statistics)
