"""Sentiment of movie review snippets: rows ``text, label``."""

from __future__ import annotations

from pathlib import Path

from ofa_starter import Row, Splits, majority, prepared
from ofa_task_language.data.reviews import VADER, sentiment


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``text, label (negative or positive), score (-4 to 4)``; ``seed`` has no effect."""
    return prepared(
        "movie_sentiment",
        lambda: sentiment("movieReviewSnippets", cache),
        sources=(VADER,),
        cache=cache,
    )


def baseline(splits: Splits) -> list[Row]:
    """The more frequent label."""
    return majority(splits, "label")
