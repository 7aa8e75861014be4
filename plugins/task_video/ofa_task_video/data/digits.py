"""Handwritten digits of scikit-learn that move over a black square, in the manner of Moving MNIST (Srivastava 2015).

One set of clips for all tasks: rows ``video, digit, direction, cap, question, answer, box``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ofa_starter import Row, Split, Splits, empty_splits, prepared, split_of

SIDE, FRAMES, SIZE = 32, 8, 12
"""Pixels of a side of the square, frames of a clip, pixels of a side of a digit."""
STEPS = {"left": (-2, 0), "right": (2, 0), "up": (0, -2), "down": (0, 2)}
"""Direction -> pixels (x, y) from frame to frame."""
NAMES = tuple("0123456789")
DIRECTIONS = tuple(STEPS)
QUESTIONS = ("which digit is it?", "which way does it move?")
CLIPS: dict[Split, int] = {"train": 2, "valid": 1, "test": 1}
"""Clips of each picture of a digit."""


def moving_digits(cache: Path | None = None) -> Splits:
    """Rows of 1,797 pictures of digits; no picture is in two splits.

    ``video`` is uint8 [8, 32, 32], light on dark. What leaves on one side comes in on the other, and clips begin
    anywhere, so that no single frame tells the direction. ``box`` is [x0, y0, x1, y1] of the digit in the last frame,
    in pixels; None where that frame cuts it. Half of the clips, at random, ask for the digit, the others for its way.
    """
    return prepared("moving_digits", _rows, cache=cache)


def _rows() -> Splits:
    from PIL import Image
    from sklearn.datasets import load_digits

    found, splits = load_digits(), empty_splits()
    for index, (picture, digit) in enumerate(zip(found.images, found.target, strict=True)):
        small = Image.fromarray((picture * (255 / 16)).astype(np.uint8))
        sprite = np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        split, rng = split_of(f"digits/{index}"), np.random.default_rng(index)
        splits[split] += [_row(sprite, NAMES[digit], rng) for _ in range(CLIPS[split])]
    return splits


def _row(sprite: np.ndarray, digit: str, rng: np.random.Generator) -> Row:
    direction = DIRECTIONS[rng.integers(len(DIRECTIONS))]
    x, y = (int(place) for place in rng.integers(SIDE, size=2))
    across, down = STEPS[direction]
    still = np.zeros((SIDE, SIDE), np.uint8)
    still[:SIZE, :SIZE] = sprite
    places = [(y + number * down, x + number * across) for number in range(FRAMES)]
    video = np.stack([np.roll(still, place, (0, 1)) for place in places])
    asked = int(rng.integers(len(QUESTIONS)))
    return {
        "video": video,
        "digit": digit,
        "direction": direction,
        "cap": f"the {digit} moves {direction}",
        "question": QUESTIONS[asked],
        "answer": (digit, direction)[asked],
        "box": _box(places[-1]),
    }


def _box(place: tuple[int, int]) -> list[int] | None:
    """Of a digit whose upper left corner is at ``place`` (y, x), where it is not cut."""
    y, x = (number % SIDE for number in place)
    whole = max(x, y) <= SIDE - SIZE
    return [x, y, x + SIZE, y + SIZE] if whole else None
