"""Pictures cut into square patches, and put together again."""

from __future__ import annotations

import numpy as np

_HALF = 127.5
CHANNELS = 3


def to_patches(pixels: np.ndarray, patch: int) -> np.ndarray:
    """float32 [patches, patch * patch * 3] in -1 to 1, row by row, of uint8 [height, width, 3] that patches fill."""
    rows, columns = pixels.shape[0] // patch, pixels.shape[1] // patch
    cut = pixels.reshape(rows, patch, columns, patch, CHANNELS).transpose(0, 2, 1, 3, 4)
    return cut.reshape(rows * columns, -1).astype(np.float32) / np.float32(_HALF) - 1


def from_patches(values: np.ndarray, rows: int, patch: int) -> np.ndarray:
    """uint8 [height, width, 3] of patches float [patches, patch * patch * 3] in ``rows`` rows; larger ones are cut."""
    columns = len(values) // rows
    whole = values.reshape(rows, columns, patch, patch, CHANNELS).transpose(0, 2, 1, 3, 4)
    return to_pixels(whole.reshape(rows * patch, columns * patch, CHANNELS))


def to_pixels(values: np.ndarray) -> np.ndarray:
    """uint8 of floats in -1 to 1; what is beyond is cut."""
    return ((values + 1) * _HALF).round().clip(0, 255).astype(np.uint8)
