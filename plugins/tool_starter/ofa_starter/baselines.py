"""Predictions that need no learning: what a score has to be compared with."""

from __future__ import annotations

from collections import Counter

from ofa_starter.splits import Row, Splits


def majority(splits: Splits, column: str) -> list[Row]:
    """The most frequent training value of ``column`` (the smallest of equals) for each test row."""
    counts = Counter(row[column] for row in splits["train"])
    best = min(counts, key=lambda value: (-counts[value], value))
    return [{column: best} for _ in splits["test"]]


def copy(splits: Splits, source: str, target: str) -> list[Row]:
    """The value of column ``source`` as the prediction of ``target``."""
    return [{target: row[source]} for row in splits["test"]]
