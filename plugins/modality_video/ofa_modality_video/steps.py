"""Steps in time of a clip's positions. Free of torch: collation needs lengths and coordinates on every rank."""

from __future__ import annotations

import numpy as np


def steps_of(shape: tuple[int, ...]) -> int:
    """Steps of a shape (frames, height, width), or (frames, height, width, steps) of a clip that is pooled."""
    return shape[3] if len(shape) > 3 else shape[0]


def repeated(cells: np.ndarray, steps: int) -> np.ndarray:
    """int64 [steps * cells, 3]: the cells (0, y, x) of a frame at each step t."""
    places = np.tile(cells, (steps, 1))
    places[:, 0] = np.repeat(np.arange(steps), len(cells))
    return places


def shares(frames: int, steps: int) -> np.ndarray:
    """float32 [steps, frames] whose rows sum to 1: which frames a step is the mean of, all equally many or one more."""
    edges = np.arange(steps + 1) * frames // steps
    number = np.arange(frames)
    inside = (number >= edges[:-1, None]) & (number < edges[1:, None])
    return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)
