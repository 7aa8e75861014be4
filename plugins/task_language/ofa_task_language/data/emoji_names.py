"""Names of emoji in 14 languages: texts that stand for pictures, so that both can be on the same side.

Names: the ``emoji`` package (BSD). Every family asks `EmojiNames.text_split` where a text belongs, by name, as
``Registry.discover().load("dataset", "emoji_names")``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ofa_starter import SPLITS, PackageSource, Split, fetch, split_of, text_id

NAMES = PackageSource(
    "emoji",
    "2.16.0",
    "c4230d80640def9071599ff56b1b5950fe13a2a94c0da98c5deab12431b24330",
    ("emoji/unicode_codes/*.json",),
    licence="BSD-3-Clause",
)
LANGUAGES = ("ar", "de", "en", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh")

_SKIN_TONES = {0x1F3FB, 0x1F3FC, 0x1F3FD, 0x1F3FE, 0x1F3FF}
_SELECTOR, _JOINER = 0xFE0F, 0x200D
_SIGNS = {0x2640, 0x2642}
_PERSON = {0x1F468: 0x1F9D1, 0x1F469: 0x1F9D1}  # man, woman -> person


class EmojiNames:
    """The dataset ``emoji_names``.

    Args:
        cache: Cache folder of fetched sources; None: that of the user.
    """

    sources: ClassVar[tuple[PackageSource, ...]] = (NAMES,)

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache

    @cached_property
    def names(self) -> dict[str, dict[str, str]]:
        """Code (code points in hexadecimal joined by ``-``, without variation selectors) -> language -> name."""
        return _names(fetch(NAMES, self._cache))

    @staticmethod
    def split_of_code(code: str) -> Split:
        """Split of an emoji: skin tones and genders of one emoji are never on two sides."""
        return split_of(f"emoji/{base_code(code)}")

    def text_split(self, text: str) -> Split:
        """Split of a text item: that of the emoji it names, else by its own hash."""
        key = text_id(text)
        return self._name_splits.get(key) or split_of(key)

    @cached_property
    def _name_splits(self) -> dict[str, Split]:
        """Text id of every English name -> split of its emoji; the later split where two share a name."""
        splits: dict[str, Split] = {}
        for code, names in sorted(self.names.items()):
            key, split = text_id(names["en"]), self.split_of_code(code)
            splits[key] = max(split, splits.get(key, split), key=SPLITS.index)
        return splits


def base_code(code: str) -> str:
    """Code without skin tone, gender and variation selector: ``1F469-1F3FD-200D-1F680`` -> ``1F9D1-200D-1F680``."""
    kept = [point for point in _points(code) if point not in _SKIN_TONES | _SIGNS | {_SELECTOR}]
    kept = [_PERSON.get(point, point) for point in kept]
    while kept and kept[-1] == _JOINER:
        kept.pop()
    return _hex(kept)


def _names(folder: Path) -> dict[str, dict[str, str]]:
    """Code -> language -> name, for every emoji that has an English one."""
    codes = folder / "emoji" / "unicode_codes"
    english = json.loads((codes / "emoji.json").read_text(encoding="utf-8"))
    names = {
        _code_of(text): {"en": _words(entry["en"])}
        for text, entry in english.items()
        if "en" in entry
    }
    for language in LANGUAGES:
        if language == "en":
            continue
        for text, name in json.loads(
            (codes / f"emoji_{language}.json").read_text(encoding="utf-8")
        ).items():
            names.get(_code_of(text), {})[language] = _words(name)
    return names


def _words(name: str) -> str:
    return " ".join(name.strip(":").replace("_", " ").split())


def _points(code: str) -> list[int]:
    return [int(part, 16) for part in code.split("-")]


def _hex(points: Sequence[int]) -> str:
    return "-".join(f"{point:04X}" for point in points)


def _code_of(text: str) -> str:
    return _hex([ord(character) for character in text if ord(character) != _SELECTOR])
