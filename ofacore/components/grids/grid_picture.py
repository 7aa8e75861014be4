"""A grid of numbers as a picture in HTML."""

from __future__ import annotations

import numpy as np

_MOST_CELLS, _MOST_LAYERS = 32, 6
"""Cells along an axis, and layers of more than two axes, that are drawn; of more, every so manieth."""
_DARK, _BRIGHT = np.array([68, 1, 84]), np.array([253, 231, 37])


def picture(grid: np.ndarray) -> str:
    """One drawing for each layer of the last two axes, dark to bright; below, the smallest and largest number."""
    layers = grid.reshape(-1, *((1, *grid.shape)[-2:]))
    low, high = float(grid.min()), float(grid.max())
    shares = (layers - low) / (high - low or 1.0)
    drawn = "".join(_layer(layer) for layer in _thinned(shares, _MOST_LAYERS, 0))
    shape = " x ".join(map(str, grid.shape))
    return f"<figure>{drawn}<figcaption>{shape}, {low:g} to {high:g}</figcaption></figure>"


def _layer(shares: np.ndarray) -> str:
    cells = _thinned(_thinned(shares, _MOST_CELLS, 0), _MOST_CELLS, 1)
    rows, columns = cells.shape
    side = max(2, 160 // max(rows, columns))
    squares = [
        f'<rect x="{x}" y="{y}" width="1" height="1" fill="{_colour(share)}"/>'
        for (y, x), share in np.ndenumerate(cells)
    ]
    size = f'width="{columns * side}" height="{rows * side}" viewBox="0 0 {columns} {rows}"'
    return f'<svg {size} shape-rendering="crispEdges">{"".join(squares)}</svg>'


def _colour(share: float) -> str:
    red, green, blue = (_DARK + share * (_BRIGHT - _DARK)).round().astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _thinned(array: np.ndarray, most: int, axis: int) -> np.ndarray:
    """At most so many entries of an axis, evenly chosen."""
    size = array.shape[axis]
    chosen = np.arange(size) if size <= most else np.linspace(0, size - 1, most).round().astype(int)
    return array.take(chosen, axis)
