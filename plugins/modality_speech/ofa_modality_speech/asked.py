"""What is known of a sound before it is generated."""

from __future__ import annotations

from dataclasses import dataclass

from ofa_modality_speech.features import HOP
from ofa_modality_speech.reading import rate_of
from ofacore.protocols import RowContext, RowError, SlotPlan, excerpt


@dataclass(frozen=True)
class AskedAudio:
    """One row's sound to be; published by the preprocessor for generators."""

    frames: int
    """Frames to produce where the generator does not predict their number."""
    step: int
    """Frames of a position."""
    bins: int
    """Numbers of a frame."""
    width: int
    """Numbers of a position."""
    asked: bool
    """The slot or its row says how long it lasts, so that nothing is predicted."""


def asked_frames(slot: SlotPlan, ctx: RowContext) -> int | None:
    """Frames of the attribute ``seconds``: a number, or a column that holds one; None where it is not written.

    Raises:
        RowError: It names no column, or the column holds no positive number.
    """
    text = slot.attributes.get("seconds")
    if text is None:
        return None
    try:
        found = float(text)
    except ValueError:
        found = _of_column(str(text), slot, ctx)
    if not 0 < found < 1e5:
        raise RowError(f"column '{slot.name}': seconds={found:g} is no length of a sound")
    return max(1, 1 + round(found * rate_of(slot)) // HOP)


def _of_column(name: str, slot: SlotPlan, ctx: RowContext) -> float:
    if ctx.row.get(name) is None:
        raise RowError(
            f"column '{slot.name}': seconds={name} is neither a number nor a column of this row"
        )
    try:
        return float(ctx.row[name])
    except (TypeError, ValueError) as error:
        raise RowError(
            f"column '{name}': {excerpt(ctx.row[name])} is no number of seconds"
        ) from error
