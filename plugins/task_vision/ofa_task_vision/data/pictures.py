"""Pictures of OpenMoji on white, for the tasks of this family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
