"""English name of an emoji picture, rows ``img, cap, candidates``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ofa_starter import Row, Splits, pick, prepared
from ofa_task_vision.data.openmoji import EmojiItem, OpenMoji
from ofa_task_vision.data.pictures import emoji_splits

CANDIDATES = 10


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``img`` (uint8 [32, 32, 3]), ``cap``, and in valid and test ``candidates``: ten names, one of them right.

    ``seed`` has no effect.
    """
    return prepared(
        "emoji_caption", lambda: _rows(cache), sources=OpenMoji(cache).sources, cache=cache
    )


def _rows(cache: Path | None) -> Splits:
    splits = emoji_splits(_row, cache)
    for split in ("valid", "test"):
        names = sorted({row["cap"] for row in splits[split]})
        for row in splits[split]:
            row["candidates"] = _candidates(row["cap"], names)
    return splits


def _row(item: EmojiItem) -> Row:
    return {"cap": item.names["en"]}


def _candidates(right: str, names: list[str]) -> list[str]:
    """The right name among others, fixed by the hash of the pairs, in alphabetical order."""
    others = [name for name in names if name != right]
    return sorted([right, *pick(others, [f"{right}/{name}" for name in others], CANDIDATES - 1)])


def baseline(splits: Splits) -> list[Row]:
    """The five most frequent words of the training names."""
    words = Counter(word for row in splits["train"] for word in row["cap"].split())
    usual = " ".join(word for word, _ in words.most_common(5))
    return [{"cap": usual} for _ in splits["test"]]
