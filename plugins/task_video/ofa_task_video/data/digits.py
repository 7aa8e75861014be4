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

    ``video`` is uint8 [8, 32, 32], light on dark; ``box`` is [x0, y0, x1, y1] of the digit in the last frame, in
    pixels; every second clip asks for its digit, the others for its direction.
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
    video, (x, y) = _clip(sprite, direction, rng)
    asked = int(rng.integers(len(QUESTIONS)))
    return {
        "video": video,
        "digit": digit,
        "direction": direction,
        "cap": f"the {digit} moves {direction}",
        "question": QUESTIONS[asked],
        "answer": (digit, direction)[asked],
        "box": [x, y, x + SIZE, y + SIZE],
    }


def _clip(
    sprite: np.ndarray, direction: str, rng: np.random.Generator
) -> tuple[np.ndarray, tuple[int, int]]:
    """A clip in which the whole digit stays in sight, and its left upper corner in the last frame."""
    across, down = STEPS[direction]
    x, y = _start(across, rng), _start(down, rng)
    video = np.zeros((FRAMES, SIDE, SIDE), np.uint8)
    for number, frame in enumerate(video):
        left, top = x + number * across, y + number * down
        frame[top : top + SIZE, left : left + SIZE] = sprite
    last = FRAMES - 1
    return video, (x + last * across, y + last * down)


def _start(step: int, rng: np.random.Generator) -> int:
    """Where a digit begins along an axis."""
    way = step * (FRAMES - 1)
    return int(rng.integers(max(0, -way), SIDE - SIZE - max(0, way), endpoint=True))
