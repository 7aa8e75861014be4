"""Positions of a picture's cells. Free of torch: collation needs lengths and coordinates on every rank."""

from __future__ import annotations

import numpy as np


def cells(shape: tuple[int, ...], stride: int) -> tuple[int, int]:
    """Rows and columns of cells of ``stride`` pixels; a cell that is only partly filled counts."""
    return -(-shape[0] // stride), -(-shape[1] // stride)


def grid_coordinates(rows: int, columns: int) -> np.ndarray:
    """int64 [rows * columns, 3]: (0, y, x), row by row."""
    y, x = np.divmod(np.arange(rows * columns), columns)
    return np.stack([np.zeros_like(y), y, x], axis=1)
