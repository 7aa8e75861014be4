"""Nine speakers of Japanese, two vowels in a row (Kudo et al. 1999), rows ``feat, speaker``; the official test.

Each frame has twelve LPC cepstra. The data come with the package ``aeon``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ofa_starter import PackageSource, Row, Split, Splits, empty_splits, fetch, majority, prepared

_FOLDER = "aeon/datasets/data/JapaneseVowels"
AEON = PackageSource(
    "aeon",
    "1.6.0",
    "d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
    (f"{_FOLDER}/JapaneseVowels_TRAIN.ts", f"{_FOLDER}/JapaneseVowels_TEST.ts"),
    licence="BSD-3-Clause",
)
SPEAKERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VALID_EVERY = 6
"""Of the official training rows every sixth is held out for validation."""


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``feat`` (float32 [7 to 29, 12]) and ``speaker``; ``seed`` has no effect."""
    return prepared("speakers", lambda: _rows(cache), sources=(AEON,), cache=cache)


def baseline(splits: Splits) -> list[Row]:
    """The most frequent speaker."""
    return majority(splits, "speaker")


def _rows(cache: Path | None) -> Splits:
    folder = fetch(AEON, cache) / _FOLDER
    splits = empty_splits()
    for number, row in enumerate(read(folder / "JapaneseVowels_TRAIN.ts")):
        split: Split = "valid" if number % VALID_EVERY == 0 else "train"
        splits[split].append(row)
    splits["test"] += read(folder / "JapaneseVowels_TEST.ts")
    return splits


def read(path: Path) -> Iterator[Row]:
    """Rows of a file of the format ``.ts``: series parted by ``:``, the class behind them."""
    lines = iter(path.read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.strip().lower() == "@data":
            break
    for line in lines:
        *series, speaker = line.strip().split(":")
        numbers = [list(map(float, one.split(","))) for one in series]
        yield {
            "feat": np.array(numbers, np.float32).T,
            "speaker": SPEAKERS[int(speaker) - 1],
        }
