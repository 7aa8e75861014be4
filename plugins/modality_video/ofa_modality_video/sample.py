"""A clip for checks and documentation."""

from __future__ import annotations

import numpy as np


def clip() -> np.ndarray:
    """Ten grey frames of 32 x 48 pixels, on which a white square moves to the right: uint8 [10, 32, 48, 3]."""
    frames = np.full((10, 32, 48, 3), 40, np.uint8)
    for number, frame in enumerate(frames):
        frame[12:20, 4 * number : 4 * number + 8] = 255
    return frames
