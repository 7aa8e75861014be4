"""Spelling correction: misspellings seen in the wild with their one correction, rows ``wrong, right``."""

from __future__ import annotations

from pathlib import Path

from ofacore.data.baselines import copy
from ofacore.data.emoji import text_split
from ofacore.data.fetch import PackageSource, fetch
from ofacore.data.prepared import prepared
from ofacore.data.splits import Row, Splits, capped, empty_splits

CODESPELL = PackageSource(
    "codespell", "2.4.3", "af2505b335e8573dbd2d384d1c4ef498f4006f4ba2d6fceca01e55b91f52628a",
    ("codespell_lib/data/dictionary.txt",), licence="CC BY-SA 3.0",
)  # fmt: skip
SIZES = (100_000, 500, 500)


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``wrong`` and ``right``, split by the right spelling; ``seed`` has no effect."""
    return prepared("spelling", lambda: _rows(cache), sources=(CODESPELL,), cache=cache)


def _rows(cache: Path | None) -> Splits:
    splits = empty_splits()
    path = fetch(CODESPELL, cache) / "codespell_lib" / "data" / "dictionary.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        wrong, _, right = line.partition("->")
        if right and "," not in right:
            splits[text_split(right, cache)].append({"wrong": wrong, "right": right})
    return capped(splits, "wrong", SIZES)


def baseline(splits: Splits) -> list[Row]:
    """The misspelling unchanged."""
    return copy(splits, "wrong", "right")
