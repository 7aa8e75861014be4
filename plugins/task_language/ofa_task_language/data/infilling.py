"""Text infilling: tweets and review snippets to be completed, rows ``text``; test rows have words left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ofa_starter import Row, Splits, capped, copy, empty_splits, prepared
from ofa_task_language.data.emoji_names import EmojiNames
from ofa_task_language.data.reviews import VADER, texts

SIZES = (20_000, 400, 400)
SHARE = 0.3
"""Words left out."""


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``text`` and ``gapped`` (a third of the words replaced by ``_``, drawn with ``seed``)."""
    return prepared(
        "infilling", lambda: _rows(cache, seed), sources=(VADER,), seed=seed, cache=cache
    )


def _rows(cache: Path | None, seed: int) -> Splits:
    splits, split_of = empty_splits(), EmojiNames(cache).text_split
    for name in ("tweets", "movieReviewSnippets"):
        for _, text in texts(name, cache):
            if 4 <= len(text.split()) <= 40:
                splits[split_of(text)].append({"text": text})
    splits = capped(splits, "text", SIZES)
    generator = np.random.default_rng([seed, 0])
    for row in (row for rows in splits.values() for row in rows):
        row["gapped"] = _gapped(row["text"], generator)
    return splits


def _gapped(text: str, generator: np.random.Generator) -> str:
    """The text with runs of left-out words, each as one ``_``."""
    words = text.split()
    left_out = set(
        generator.choice(len(words), size=max(1, round(SHARE * len(words))), replace=False).tolist()
    )
    kept = ["_" if index in left_out else word for index, word in enumerate(words)]
    return " ".join(
        word
        for index, word in enumerate(kept)
        if word != "_" or index == 0 or kept[index - 1] != "_"
    )


def baseline(splits: Splits) -> list[Row]:
    """The text with its gaps."""
    return copy(splits, "gapped", "text")
