"""English to French: names of languages, places, currencies (pycountry), and messages of a web framework (Django)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ofa_starter import (
    PackageSource,
    Row,
    Splits,
    capped,
    copy,
    empty_splits,
    fetch,
    prepared,
    text_id,
)
from ofa_task_language.data.emoji_names import EmojiNames

PYCOUNTRY = PackageSource(
    "pycountry",
    "26.2.16",
    "115c4baf7cceaa30f59a4694d79483c9167dbce7a9de4d3d571c5f3ea77c305a",
    ("pycountry/locales/fr/LC_MESSAGES/*.mo",),
    licence="LGPL-2.1-only",
)
DJANGO = PackageSource(
    "django",
    "5.2.19",
    "5965d974a5218a2b68a11dd1276434707f23886525c23f0598eccedaf4f4ca00",
    ("django/*/locale/fr/LC_MESSAGES/*.mo",),
    licence="BSD-3-Clause",
)
SIZES = (20_000, 400, 400)
LONGEST = 120
"""Characters of a pair's longer side."""


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``en, fr``, split by the English text; ``seed`` has no effect."""
    return prepared(
        "translate_en_fr", lambda: _rows(cache), sources=(PYCOUNTRY, DJANGO), cache=cache
    )


def _rows(cache: Path | None) -> Splits:
    splits, seen, split_of = empty_splits(), set(), EmojiNames(cache).text_split
    for english, french in _pairs(cache):
        key = text_id(english)
        if key not in seen:
            seen.add(key)
            splits[split_of(english)].append({"en": english, "fr": french})
    return capped(splits, "en", SIZES)


def _pairs(cache: Path | None) -> Iterator[tuple[str, str]]:
    """Pairs that differ, on one line, without placeholders or mark-up."""
    import polib

    for source in (PYCOUNTRY, DJANGO):
        for path in sorted(fetch(source, cache).rglob("*.mo")):
            for entry in polib.mofile(str(path)):
                english, french = entry.msgid.strip(), entry.msgstr.strip()
                if _usable(english, french):
                    yield english, french


def _usable(english: str, french: str) -> bool:
    marks = any(mark in english + french for mark in ("%", "{", "<", "\n", "\\", "&", "_"))
    return (
        "" not in (english, french)
        and english != french
        and not marks
        and len(max(english, french, key=len)) <= LONGEST
    )


def baseline(splits: Splits) -> list[Row]:
    """The English text unchanged: many names are alike."""
    return copy(splits, "en", "fr")
