"""From the value of a slot to normalised frames, as its attributes ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofa_modality_speech.features import fbank, log_mel
from ofa_modality_speech.loading import Features, Loader
from ofa_modality_speech.statistics import ANY, Statistics, of_one
from ofa_modality_speech.wave import Wave, faster, resampled
from ofacore.protocols import RowContext, RowError, SlotPlan

RATES = {"fbank": 16_000, "log_mel": 22_050}
"""Kind of features -> samples a second where the slot says nothing, as in OFASys."""
MAKERS = {"fbank": fbank, "log_mel": log_mel}
SERIES = "series"
"""Kind of features that came ready-made."""


@dataclass(frozen=True)
class Frames:
    """Features of one value."""

    values: np.ndarray
    """float32 [frames, numbers], not normalised."""
    key: str
    """Under which their statistics are kept: kind, rate, numbers a frame."""


def kind_of(slot: SlotPlan) -> str:
    """``fbank`` or ``log_mel``: what the slot says, else filterbank to read and log-mel to write."""
    usual = "fbank" if slot.side == "source" else "log_mel"
    return str(slot.attributes.get("features") or usual)


def rate_of(slot: SlotPlan) -> int:
    """Samples a second that the slot works with."""
    return int(slot.attributes.get("sample_rate") or RATES[kind_of(slot)])


def key_of(slot: SlotPlan, bins: int) -> str:
    """Statistics that the slot's own features have."""
    return f"{kind_of(slot)}/{rate_of(slot)}/{bins}"


def slot_wave(value: Any, slot: SlotPlan, ctx: RowContext | None) -> np.ndarray | Features:
    """Samples float32 [samples] at the slot's rate, or features that came ready-made.

    Raises:
        RowError: The value is no sound, shorter than ``min_seconds``, or lacks the channel.
    """
    loader = Loader(slot.name, float(slot.attributes["max_seconds"]))
    loaded = loader.load(value)
    if isinstance(loaded, Features):
        return loaded
    shortest = float(slot.attributes.get("min_seconds") or 0.0)
    if loaded.seconds < shortest:
        raise RowError(
            f"column '{slot.name}': the sound lasts {loaded.seconds:.3g} s, less than min_seconds={shortest:g}"
        )
    samples = resampled(_channel(loaded, slot), loaded.rate, rate_of(slot))
    return faster(samples, _speed(slot, ctx))


def _channel(wave: Wave, slot: SlotPlan) -> np.ndarray:
    """The channel that the slot names, from 0, else the mean of all."""
    number = slot.attributes.get("channel")
    if number is None:
        return wave.mono()
    count = len(wave.samples)
    if number >= count:
        raise RowError(f"column '{slot.name}': channel={number}, but the sound has {count}, from 0")
    return np.ascontiguousarray(wave.samples[number])


def _speed(slot: SlotPlan, ctx: RowContext | None) -> float:
    """A factor of the attribute ``speed``, drawn in training."""
    text = slot.attributes.get("speed")
    if not text or ctx is None or ctx.split != "train":
        return 1.0
    factors = speeds(str(text), slot.name)
    return float(factors[int(ctx.rng.integers(len(factors)))])


def speeds(text: str, column: str) -> list[float]:
    """Factors of ``0.9/1/1.1``.

    Raises:
        RowError: It is written otherwise.
    """
    try:
        factors = [float(part) for part in text.split("/")]
    except ValueError as error:
        raise RowError(f"column '{column}': speed={text} is not such as 0.9/1/1.1") from error
    if not all(0.25 <= factor <= 4 for factor in factors):
        raise RowError(f"column '{column}': speed={text} goes beyond 0.25 to 4")
    return factors


def slot_frames(value: Any, slot: SlotPlan, ctx: RowContext | None, bins: int) -> Frames:
    """Features of a value.

    Raises:
        RowError: As `slot_wave`, or the features have more numbers a frame than ``bins``.
    """
    found = slot_wave(value, slot, ctx)
    if isinstance(found, np.ndarray):
        values = MAKERS[kind_of(slot)](found, rate_of(slot), bins)
        return Frames(values, key_of(slot, bins))
    width = found.frames.shape[1]
    if width > bins:
        raise RowError(
            f"column '{slot.name}': features of {width} numbers a frame; option bins={bins} holds fewer"
        )
    return Frames(found.frames, f"{SERIES}/{width}")


def normalised(frames: Frames, slot: SlotPlan, statistics: Mapping[str, Statistics]) -> np.ndarray:
    """float32 [frames, numbers], by the slot's own clip or by fitted statistics.

    Raises:
        RowError: No training value had such features, or their numbers are too large.
    """
    manner = slot.attributes.get("normalize") or _usual_manner(frames, slot)
    if manner == "none":
        return frames.values
    if manner == "utterance":
        return of_one(frames.values).normalise(frames.values)
    with np.errstate(over="ignore"):
        found = statistics_of(frames.key, slot.name, statistics).normalise(frames.values)
    if not np.isfinite(found).all():
        raise RowError(f"column '{slot.name}': numbers that are too large to normalise")
    return found


def _usual_manner(frames: Frames, slot: SlotPlan) -> str:
    """What is written must be restored, and ready-made features keep their level."""
    given = frames.key.startswith(SERIES)
    return "fitted" if given or slot.side == "target" else "utterance"


def statistics_of(key: str, column: str, known: Mapping[str, Statistics]) -> Statistics:
    """Fitted statistics of some features; of an imported model those that it came with.

    Raises:
        RowError: The model was fitted on none of them.
    """
    if ANY in known:
        return known[ANY]
    if key not in known:
        kinds = ", ".join(known) or "none"
        raise RowError(
            f"column '{column}': this model was fitted on no features {key} (kind, rate, numbers), but on: {kinds}"
        )
    return known[key]
