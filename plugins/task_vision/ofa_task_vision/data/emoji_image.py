"""Picture of an emoji by its English name, rows ``cap, img``."""

from __future__ import annotations

from pathlib import Path

from ofa_starter import Row, Splits
from ofa_task_vision.data import emoji_caption
from ofa_task_vision.data.pictures import mean_of_pictures


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """The rows of `emoji_caption` with ``cap`` and ``img`` (uint8 [32, 32, 3]); ``seed`` has no effect."""
    found: Splits = {}
    for split, rows in emoji_caption.build(cache).items():
        found[split] = [_row(row) for row in rows]
    return found


def _row(row: Row) -> Row:
    return {"cap": row["cap"], "img": row["img"]}


def baseline(splits: Splits) -> list[Row]:
    """The mean of all training pictures, whatever the name."""
    return mean_of_pictures(splits)
