"""How frames become positions: four of a source by convolution, ``n`` of a target side by side."""

from __future__ import annotations

import math

import numpy as np

SHORTEST = 7
"""Frames that two convolutions of three frames, two apart, need at least."""


def positions_of(shape: tuple[int, ...]) -> int:
    """Positions of a segment: shape (frames,) of a source, (frames, frames a position) of a target."""
    if len(shape) == 1:
        return subsampled(shape[0])
    frames, step = shape
    return math.ceil(frames / step)


def subsampled(frames: int) -> int:
    """What two convolutions of kernel 3 and stride 2 leave of so many frames."""
    return ((max(frames, SHORTEST) - 1) // 2 - 1) // 2


def packed(frames: np.ndarray, step: int, width: int) -> np.ndarray:
    """[frames, bins] -> [positions, width]: ``step`` frames side by side, zeros behind them and behind the last."""
    count = math.ceil(len(frames) / step)
    filled = np.zeros((count * step, frames.shape[1]), frames.dtype)
    filled[: len(frames)] = frames
    result = np.zeros((count, width), frames.dtype)
    result[:, : step * frames.shape[1]] = filled.reshape(count, -1)
    return result


def used_mask(frames: int, bins: int, step: int, width: int) -> np.ndarray:
    """bool [positions, width]: which numbers of `packed` frames are any."""
    return packed(np.ones((frames, bins), bool), step, width)
