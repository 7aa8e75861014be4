"""One rule that says which split an item belongs to, for every task.

The same item (a picture, a name, a word) may serve several tasks. Because each of them asks `split_of` with the same
item id, an item is never in the training data of one task and in the test data of another.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeVar

Split = Literal["train", "valid", "test"]
Row = dict[str, Any]
Splits = dict[str, list[Row]]
"""``{"train": rows, "valid": rows, "test": rows}``; a row maps column names to values."""

SPLITS: tuple[Split, ...] = ("train", "valid", "test")
T = TypeVar("T")


def split_of(item_id: str) -> Split:
    """Split of an item by the MD5 of its id: 80 % train, 10 % valid, 10 % test.

    Args:
        item_id: ``kind/name``, such as ``text/red apple``; equal for every form in which the item appears.
    """
    bucket = _order(item_id) % 10
    if bucket == 0:
        return "test"
    if bucket == 1:
        return "valid"
    return "train"


def text_id(text: str) -> str:
    """Item id of a text: case, accents' encoding, punctuation and blanks make no difference."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = re.sub(r"[\W_]+", " ", folded).strip()
    return f"text/{words or folded}"


def empty_splits() -> Splits:
    """Splits without rows, to be filled."""
    return {name: [] for name in SPLITS}


def pick(items: Iterable[T], ids: Iterable[str], count: int) -> list[T]:
    """At most ``count`` items, chosen by the hash of their ids and given in that order: a fixed random subset."""
    ordered = sorted(
        zip(ids, items, strict=True), key=lambda pair: (_order(f"pick/{pair[0]}"), pair[0])
    )
    return [item for _, item in ordered[:count]]


def capped(splits: Splits, column: str, sizes: Sequence[int]) -> Splits:
    """Splits with at most ``sizes`` = (train, valid, test) rows, chosen by the hash of a text column."""
    kept: Splits = {}
    for (name, rows), size in zip(splits.items(), sizes, strict=True):
        texts = [str(row[column]) for row in rows]
        kept[name] = pick(rows, texts, size)
    return kept


def _order(text: str) -> int:
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest(), "big")
