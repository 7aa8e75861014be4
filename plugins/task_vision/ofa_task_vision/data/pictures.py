"""Pictures of OpenMoji on white, and the mean of pictures, for the tasks of this family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ofa_starter import Row, Splits, empty_splits
from ofa_task_vision.data.openmoji import EmojiItem, OpenMoji, on_white

SIZE = 32


def emoji_splits(row: Callable[[EmojiItem], Row | None], cache: Path | None = None) -> Splits:
    """Splits with the column ``img`` (uint8 [32, 32, 3]) and what ``row`` gives for an item; None leaves it out."""
    splits = empty_splits()
    openmoji = OpenMoji(cache)
    items = openmoji.items()
    for item, picture in zip(items, openmoji.render(items, SIZE), strict=True):
        columns = row(item)
        if columns is not None:
            splits[item.split].append({"img": on_white(picture), **columns})
    return splits


def mean_of_pictures(splits: Splits) -> list[Row]:
    """The mean of all training pictures in column ``img``, as the answer to every test row."""
    mean = np.mean([row["img"] for row in splits["train"]], axis=0)
    picture = mean.round().astype(np.uint8)
    return [{"img": picture} for _ in splits["test"]]
