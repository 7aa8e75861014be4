"""A picture that is to be written: its cells, and which of them are given."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ofa_modality_image.loading import load_image
from ofacore.protocols import RowContext, RowError, SlotPlan

_WHITE = 127


@dataclass(frozen=True, eq=False)
class Canvas:
    """One row's picture to be; a preprocessor publishes it for the generator."""

    shape: tuple[int, int]
    """Rows and columns of cells."""
    given: np.ndarray
    """What cells hold: float32 [cells, numbers of a patch], or int64 [cells] ids; anything where none is given."""
    known: np.ndarray
    """bool [cells]: given, not written."""


def cells_of(side: int, cell: int, slot: SlotPlan) -> int:
    """Cells on a side of a picture of ``side`` pixels.

    Raises:
        RowError: Cells do not fill it, or are not as many as the attribute ``length`` says.
    """
    place = f"column '{slot.name}'"
    if side % cell or side < cell:
        fitting = max(cell, round(side / cell) * cell)
        problem = f"{place}: size={side} is no multiple of {cell}, the pixels on a side of a cell"
        raise RowError(f"{problem}; write size={fitting}")
    count, length = (side // cell) ** 2, slot.attributes.get("length")
    if length and int(length) != count:
        problem = f"{place}: length={length}, but a picture of size={side} has {count} cells"
        raise RowError(f"{problem} of {cell} x {cell} pixels; leave length out, or change size")
    return side // cell


def hidden_pixels(slot: SlotPlan, ctx: RowContext, side: int) -> np.ndarray | None:
    """bool [side, side]: pixels that are to be written, by the attribute ``inpaint``; None: all of them.

    Raises:
        RowError: ``inpaint`` names a column that holds no mask, or is no share of the area.
    """
    written = slot.attributes.get("inpaint")
    if not written:
        return None
    share = _share(str(written))
    if share is None:
        return _mask(str(written), slot, ctx, side)
    if not 0 < share <= 1:
        raise RowError(
            f"column '{slot.name}': inpaint={written} is no share of the area, such as 0.5"
        )
    hidden = np.zeros((side, side), bool)
    width = max(1, round(side * math.sqrt(share)))
    start = (side - width) // 2
    hidden[start : start + width, start : start + width] = True
    return hidden


def hidden_cells(hidden: np.ndarray, cells: int) -> np.ndarray:
    """bool [cells * cells]: cells with a pixel that is hidden."""
    cell = len(hidden) // cells
    return hidden.reshape(cells, cell, cells, cell).any(axis=(1, 3)).reshape(-1)


def _share(written: str) -> float | None:
    try:
        return float(written)
    except ValueError:
        return None


def _mask(column: str, slot: SlotPlan, ctx: RowContext, side: int) -> np.ndarray:
    value = ctx.row.get(column)
    if value is None:
        raise RowError(
            f"column '{slot.name}': inpaint={column} names a column that the row has not; "
            "it holds a picture that is white where something is to be written"
        )
    grey = load_image(value, column).convert("L")
    hidden = np.asarray(grey.resize((side, side), Image.Resampling.NEAREST)) > _WHITE
    if not hidden.any():
        raise RowError(f"column '{column}': nothing is white, so nothing is to be written")
    return hidden
