"""Handwritten digits of scikit-learn (1,797 pictures of 8 by 8), rows ``img, digit``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ofa_starter import Row, Splits, empty_splits, majority, prepared, split_of
from ofa_task_vision.data.pictures import mean_of_pictures

NAMES = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
SIZE = 32


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``img`` (uint8 [32, 32, 3], light on dark) and ``digit``; ``seed`` has no effect."""
    return prepared("digits", _rows, cache=cache)


def _rows() -> Splits:
    from PIL import Image
    from sklearn.datasets import load_digits

    found, splits = load_digits(), empty_splits()
    for index, (picture, digit) in enumerate(zip(found.images, found.target, strict=True)):
        small = Image.fromarray((picture * (255 / 16)).astype(np.uint8))
        large = np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BILINEAR).convert("RGB"))
        splits[split_of(f"digits/{index}")].append({"img": large, "digit": NAMES[digit]})
    return splits


def baseline(splits: Splits) -> list[Row]:
    """The most frequent digit."""
    return majority(splits, "digit")


def mean_picture(splits: Splits) -> list[Row]:
    """The mean of all training pictures, whatever the digit."""
    return mean_of_pictures(splits)
