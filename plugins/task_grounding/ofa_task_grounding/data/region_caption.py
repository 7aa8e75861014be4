"""What does a region show: the scenes of `grounding` the other way round, rows ``img, box, cap``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ofa_starter import Row, Splits
from ofa_task_grounding.data import grounding


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """The rows of `grounding`: ``img``, ``box``, ``cap``."""
    return grounding.build(cache, seed)


def baseline(splits: Splits) -> list[Row]:
    """The five most frequent words of the training names."""
    words = Counter(word for row in splits["train"] for word in row["cap"].split())
    usual = " ".join(word for word, _ in words.most_common(5))
    return [{"cap": usual} for _ in splits["test"]]
