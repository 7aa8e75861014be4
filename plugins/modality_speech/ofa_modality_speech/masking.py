"""What is hidden of features in training: bands and stretches (SpecAugment), spans of positions (wav2vec 2)."""

from __future__ import annotations

import numpy as np

BANDS, WIDEST_BAND = 2, 27
STRETCHES, LONGEST_STRETCH, LONGEST_SHARE = 2, 100, 0.2
MASK_SHARE, MASK_LENGTH = 0.65, 10


def spec_augmented(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frames [frames, bins] in which two bands and two stretches of time are 0 (Park et al. 2019).

    A band has up to 27 of 80 bins, a stretch up to 100 frames and a fifth of all.
    """
    found = frames.copy()
    length, bins = frames.shape
    widest = max(1, round(bins * WIDEST_BAND / 80))
    longest = min(LONGEST_STRETCH, int(length * LONGEST_SHARE))
    for _ in range(BANDS):
        start, stop = _stretch(bins, widest, rng)
        found[:, start:stop] = 0
    for _ in range(STRETCHES):
        start, stop = _stretch(length, longest, rng)
        found[start:stop] = 0
    return found


def _stretch(size: int, longest: int, rng: np.random.Generator) -> tuple[int, int]:
    """Start and stop of a random piece, at most ``longest`` of ``size``."""
    length = int(rng.integers(0, min(longest, size) + 1))
    start = int(rng.integers(0, size - length + 1))
    return start, start + length


def hidden_spans(positions: int, share: float, length: int, rng: np.random.Generator) -> np.ndarray:
    """bool [positions]: spans that begin anywhere and may overlap (Baevski et al. 2020), at least one.

    Args:
        positions: Of the whole segment.
        share: Positions of all spans together as a share of all, overlaps counted twice.
        length: Positions of a span.
        rng: Draws the number of spans, by its fractional part, and where they begin.
    """
    hidden = np.zeros(positions, bool)
    length = min(length, positions)
    spans = max(1, int(share * positions / length + rng.random()))
    starts = rng.choice(positions - length + 1, min(spans, positions - length + 1), replace=False)
    for start in starts:
        hidden[start : start + length] = True
    return hidden
