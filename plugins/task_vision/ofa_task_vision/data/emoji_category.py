"""Category of an emoji picture, rows ``img, category, name``."""

from __future__ import annotations

from pathlib import Path

from ofa_starter import Row, Splits, majority, prepared
from ofa_task_vision.data.openmoji import EmojiItem, OpenMoji
from ofa_task_vision.data.pictures import emoji_splits

NAMES = (
    "activities",
    "animals and nature",
    "flags",
    "food and drink",
    "objects",
    "people and body",
    "smileys and emotion",
    "symbols",
    "travel and places",
)


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``img`` (uint8 [32, 32, 3]), ``category`` (one of `NAMES`), ``name``; ``seed`` has no effect."""
    return prepared(
        "emoji_category",
        lambda: emoji_splits(_row, cache),
        sources=OpenMoji(cache).sources,
        cache=cache,
    )


def _row(item: EmojiItem) -> Row | None:
    category = item.category.lower().replace("&", "and")
    return {"category": category, "name": item.names["en"]} if category in NAMES else None


def baseline(splits: Splits) -> list[Row]:
    """The most frequent category."""
    return majority(splits, "category")
