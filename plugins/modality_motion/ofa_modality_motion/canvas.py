"""What is known of a clip before it is generated: its size, and frames that are given."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ofa_modality_motion.features import (
    Signatures,
    asked_length,
    signature_of,
    slot_dims,
    slot_features,
)
from ofa_modality_motion.trimming import Cut
from ofacore.protocols import RowContext, RowError, SlotPlan


@dataclass(frozen=True)
class Canvas:
    """One row's clip to be; a preprocessor publishes it for the generator."""

    dims: int
    """Numbers a frame; the columns behind them are padding."""
    given: np.ndarray
    """float32 [frames, max_dim], normalised; zeros where nothing is given."""
    known: np.ndarray
    """bool [frames]: given."""


def row_canvas(slot: SlotPlan, ctx: RowContext, signatures: Signatures, width: int) -> Canvas:
    """Size and given frames of a row's clip; of its own clip, only length and given frames are read.

    Raises:
        RowError: Nothing says how many numbers a frame has, or the row's own clip is unusable.
    """
    dims = slot_dims(slot, ctx, signatures)
    value = (
        None if slot.repeat else ctx.row.get(slot.name)
    )  # a column of a repeat holds a clip for each turn
    own = None if value is None else slot_features(value, slot, ctx, signatures)
    length = asked_length(slot, ctx)
    if length is None and own is not None:
        length = len(own.frames)
    if length is None:
        length = signature_of(dims, signatures, slot.name).typical_length(Cut.of(slot.attributes))
    frames, known = np.zeros((length, dims), np.float32), np.zeros(length, bool)
    if own is not None:
        shared = min(length, len(own.frames))
        known[:shared] = own.known[:shared]
        frames[known] = own.frames[:shared][known[:shared]]
    return Canvas(dims, padded(frames, width, slot.name), known)


def padded(frames: np.ndarray, width: int, column: str) -> np.ndarray:
    """float32 [frames, width] with zeros at the right.

    Raises:
        RowError: The frames are wider.
    """
    if frames.shape[1] > width:
        raise RowError(
            f"column '{column}': {frames.shape[1]} numbers a frame; option max_dim={width} holds fewer"
        )
    result = np.zeros((len(frames), width), np.float32)
    result[:, : frames.shape[1]] = frames
    return result
