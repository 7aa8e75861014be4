"""Positions of a picture's cells. Free of torch: collation needs lengths and coordinates on every rank."""

from __future__ import annotations

import numpy as np


def cells(shape: tuple[int, ...], stride: int) -> tuple[int, int]:
    """Rows and columns of cells of ``stride`` pixels; a cell that is only partly filled counts."""
    return -(-shape[0] // stride), -(-shape[1] // stride)


def patch_cells(shape: tuple[int, ...], patch: int, cut: bool) -> tuple[int, int]:
    """Rows and columns of patches; with ``cut`` those that are only partly filled are cut off."""
    return (shape[0] // patch, shape[1] // patch) if cut else cells(shape, patch)


def grid_coordinates(rows: int, columns: int) -> np.ndarray:
    """int64 [rows * columns, 3]: (0, y, x), row by row."""
    y, x = np.divmod(np.arange(rows * columns), columns)
    return np.stack([np.zeros_like(y), y, x], axis=1)


def behind_class_token(cells_: np.ndarray) -> np.ndarray:
    """int64 [1 + cells, 3]: a class token at the origin, the cells moved by one row and one column."""
    return np.concatenate([np.zeros((1, 3), np.int64), cells_ + np.array([0, 1, 1])])


def chosen(number: int, shape: tuple[int, ...]) -> np.ndarray | None:
    """int64, ascending: the cells that are kept of ``number``; None: all.

    A shape (height, width, kept, seed) draws ``kept`` cells, the same ones wherever it is asked.
    """
    if len(shape) == 2 or shape[2] >= number:
        return None
    drawn = np.random.default_rng(shape[3]).choice(number, shape[2], replace=False)
    return np.sort(drawn)
