"""From the value of a slot to normalised frames; shared by encoding and by the sampling of given frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ofa_modality_motion.clip import Clip, load_clip
from ofa_modality_motion.forms import FORMS
from ofa_modality_motion.inbetween import with_known_ends
from ofa_modality_motion.skeleton import Skeleton
from ofa_modality_motion.statistics import Signature
from ofa_modality_motion.trimming import Cut, cut_clip
from ofacore.protocols import RowContext, RowError, SlotPlan, excerpt

Signatures = Mapping[int, Signature]


@dataclass(frozen=True)
class Features:
    """A clip as the model sees it, before it is padded."""

    frames: np.ndarray
    """float32 [frames, dims], normalised."""
    known: np.ndarray
    """bool [frames]: given, not to be learned or produced."""


def slot_clip(value: Any, slot: SlotPlan, ctx: RowContext, signatures: Signatures) -> Clip:
    """The part of a clip that a slot takes, in the caller's units.

    Raises:
        RowError: The value is no clip or too short.
    """
    rng = ctx.rng if ctx.split == "train" else None
    clip = cut_clip(
        known_skeleton(load_clip(value, slot.name), signatures),
        Cut.of(slot.attributes),
        rng,
        slot.name,
    )
    spans = slot.attributes.get("inbetween")
    if spans and slot.side == "target" and clip.known is None:
        clip = with_known_ends(clip, spans, rng, slot.name)
    length = asked_length(slot, ctx)
    if length is not None and length < len(clip.frames):
        known = None if clip.known is None else clip.known[:length]
        clip = replace(clip, frames=clip.frames[:length], known=known)
    return clip


def slot_frames(
    value: Any, slot: SlotPlan, ctx: RowContext, signatures: Signatures
) -> tuple[np.ndarray, np.ndarray]:
    """The part of a clip that a slot takes, anchored.

    Returns:
        float64 [frames, dims], and which frames are given, bool [frames].

    Raises:
        RowError: The value cannot be used, or its numbers a frame are not those the model was fitted on.
    """
    clip = slot_clip(value, slot, ctx, signatures)
    anchor = slot.attributes.get("anchor_frame")
    if anchor is not None and not 0 <= anchor < len(clip.frames):
        raise RowError(
            f"column '{slot.name}': anchor_frame={anchor} is not within {len(clip.frames)} frames"
        )
    features = FORMS[slot.preprocessor].features(clip, anchor, slot.name)
    _check_size(features.shape[1], slot, ctx, signatures)
    skeleton = signature_of(features.shape[1], signatures, slot.name).skeleton
    difference = FORMS[slot.preprocessor].agrees(clip, skeleton)
    if difference:
        raise RowError(f"column '{slot.name}': its skeleton is not that of the model: {difference}")
    return features, np.zeros(len(features), bool) if clip.known is None else clip.known


def slot_features(value: Any, slot: SlotPlan, ctx: RowContext, signatures: Signatures) -> Features:
    """Normalised frames of the clip.

    Raises:
        RowError: As `slot_frames`, or a number is too large.
    """
    features, known = slot_frames(value, slot, ctx, signatures)
    frames = signature_of(features.shape[1], signatures, slot.name).normalise(features)
    if not np.isfinite(frames).all():
        raise RowError(
            f"column '{slot.name}': numbers up to {np.abs(features).max():.3g} are too large to normalise"
        )
    return Features(frames, known)


def _check_size(size: int, slot: SlotPlan, ctx: RowContext, signatures: Signatures) -> None:
    """The attribute ``dims`` says how many numbers a frame has; without it, most clips of the column do.

    Raises:
        RowError: This clip has others.
    """
    dims, usual = slot.attributes.get("dims"), _usual_dims(slot, ctx, signatures)
    if dims is not None and size != dims:
        raise RowError(
            f"column '{slot.name}': {size} numbers a frame, but the slot says dims={dims}"
        )
    if dims is None and usual not in (None, size):
        raise RowError(
            f"column '{slot.name}': {size} numbers a frame, but most training clips of this column have {usual}; "
            f"mend or leave out the row, or write dims={size} if that is the right size"
        )


def _usual_dims(slot: SlotPlan, ctx: RowContext, signatures: Signatures) -> int | None:
    """Numbers a frame of most clips that the slot was fitted on; None for a slot that no task had."""
    return next(
        (dims for dims, found in signatures.items() if (ctx.task, slot.name) in found.columns), None
    )


def _known_dims(signatures: Signatures) -> list[int]:
    """Sizes that some column has; all where no columns were recorded."""
    return sorted(dims for dims, found in signatures.items() if found.columns) or sorted(signatures)


def signature_of(dims: int, signatures: Signatures, column: str) -> Signature:
    """Statistics for clips of ``dims`` numbers a frame.

    Raises:
        RowError: The model knows no such clips.
    """
    if dims not in signatures:
        known = ", ".join(map(str, _known_dims(signatures))) or "none"
        raise RowError(
            f"column '{column}': {dims} numbers a frame, but this model was fitted on clips of {known}"
        )
    return signatures[dims]


def known_skeleton(clip: Clip, signatures: Signatures) -> Clip:
    """The clip with the model's skeleton for clips of its size, where it brings none."""
    for signature in signatures.values() if clip.skeleton is None else ():
        skeleton = signature.skeleton
        size = skeleton.channels if isinstance(skeleton, Skeleton) else len(signature.mean)
        if skeleton is not None and size == clip.dims:
            return replace(clip, skeleton=skeleton)
    return clip


def slot_dims(slot: SlotPlan, ctx: RowContext, signatures: Signatures) -> int:
    """Numbers a frame to produce: attribute ``dims``, else those of the column's clips, else those of the row's own
    clip, else the only ones known.

    Raises:
        RowError: The model knows several and nothing decides.
    """
    usual, known = _usual_dims(slot, ctx, signatures), _known_dims(signatures)
    if slot.attributes.get("dims"):
        dims = int(slot.attributes["dims"])
    elif usual is not None:
        dims = usual
    elif not slot.repeat and ctx.row.get(slot.name) is not None:
        clip = known_skeleton(load_clip(ctx.row[slot.name], slot.name), signatures)
        dims = FORMS[slot.preprocessor].dims(clip, slot.name)
    elif len(known) == 1:
        dims = known[0]
    else:
        sizes = ", ".join(map(str, known)) or "none"
        raise RowError(
            f"column '{slot.name}': this model knows clips of {sizes} numbers a frame; write dims= to choose"
        )
    signature_of(dims, signatures, slot.name)
    return dims


def asked_length(slot: SlotPlan, ctx: RowContext) -> int | None:
    """Frames that attribute ``length`` asks for: a number, or a column that holds one.

    Raises:
        RowError: It names no column, or the column holds no positive number.
    """
    text = slot.attributes.get("length")
    if text is None:
        return None
    found = text if str(text).isdigit() else ctx.row.get(str(text))
    if found is None:
        raise RowError(
            f"column '{slot.name}': length={text} is neither a number nor a column of this row"
        )
    try:
        length = int(found)
    except (TypeError, ValueError) as error:
        raise RowError(f"column '{text}': {excerpt(found)} is no number of frames") from error
    if length < 1:
        raise RowError(f"column '{text}': {length} is no number of frames; at least 1 is needed")
    return length
