"""Spelling correction: misspellings seen in the wild with their one correction, rows ``wrong, right``."""

from __future__ import annotations

from pathlib import Path

from ofa_starter import PackageSource, Row, Splits, capped, copy, empty_splits, fetch, prepared
from ofa_task_language.data.emoji_names import EmojiNames

CODESPELL = PackageSource(
    "codespell",
    "2.4.3",
    "af2505b335e8573dbd2d384d1c4ef498f4006f4ba2d6fceca01e55b91f52628a",
    ("codespell_lib/data/dictionary.txt",),
    licence="CC BY-SA 3.0",
)
SIZES = (100_000, 500, 500)


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``wrong`` and ``right``, split by the right spelling; ``seed`` has no effect."""
    return prepared("spelling", lambda: _rows(cache), sources=(CODESPELL,), cache=cache)


def _rows(cache: Path | None) -> Splits:
    splits, split_of = empty_splits(), EmojiNames(cache).text_split
    path = fetch(CODESPELL, cache) / "codespell_lib" / "data" / "dictionary.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        wrong, _, right = line.partition("->")
        if right and "," not in right:
            splits[split_of(right)].append({"wrong": wrong, "right": right})
    return capped(splits, "wrong", SIZES)


def baseline(splits: Splits) -> list[Row]:
    """The misspelling unchanged."""
    return copy(splits, "wrong", "right")
