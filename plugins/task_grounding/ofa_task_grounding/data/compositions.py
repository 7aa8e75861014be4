"""Scenes of one to three OpenMoji pictures on a canvas, with exact boxes.

A scene of a split shows pictures of that split only, so tests hold no picture, and no name, seen in training. Flags are
left out: as plain rectangles their names say nothing about them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ofa_starter import SPLITS, Row, Split, Splits, prepared
from ofacore.plugin import Registry

CANVAS = 64
SMALLEST, LARGEST = 18, 30
OBJECTS = (1, 2, 2, 3, 3)
"""How many objects, equally likely; one that finds no room is left out."""
SCENES = {"train": 6000, "valid": 300, "test": 500}
_RENDERED = 72
_ATTEMPTS = 60

Box = tuple[int, int, int, int]


class Item(Protocol):
    """What is used of an item of the dataset ``openmoji``."""

    code: str
    names: dict[str, str]
    category: str

    @property
    def split(self) -> Split:
        """Split of the item."""


def scenes(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``img`` (uint8 [64, 64, 3]), ``names``, ``kinds``, ``boxes`` ([x0, y0, x1, y1] in pixels), left to right."""
    openmoji = Registry.discover().load("dataset", "openmoji")(cache)
    return prepared(
        "scenes", lambda: _build(openmoji, seed), sources=openmoji.sources, seed=seed, cache=cache
    )


def _build(openmoji: Any, seed: int) -> Splits:
    items: list[Item] = [item for item in openmoji.items() if item.category != "Flags"]
    pictures = [_trimmed(picture) for picture in openmoji.render(items, _RENDERED)]
    sprites = dict(zip((item.code for item in items), pictures, strict=True))
    splits: Splits = {}
    for number, split in enumerate(SPLITS):
        generator = np.random.default_rng([seed, number])
        own = [item for item in items if item.split == split]
        splits[split] = [_scene(own, sprites, generator) for _ in range(SCENES[split])]
    return splits


def _scene(
    items: list[Item], sprites: dict[str, np.ndarray], generator: np.random.Generator
) -> Row:
    """One scene: pictures with different names that do not overlap."""
    canvas = np.empty((CANVAS, CANVAS, 3), dtype=np.uint8)
    canvas[:] = generator.integers(200, 256, size=3)
    placed: list[tuple[Box, Item]] = []
    for index in generator.choice(len(items), size=generator.choice(OBJECTS), replace=False):
        item = items[index]
        if item.names["en"] in {other.names["en"] for _, other in placed}:
            continue
        box = _paste(canvas, sprites[item.code], [box for box, _ in placed], generator)
        if box is not None:
            placed.append((box, item))
    placed.sort(key=lambda pair: pair[0])
    return {
        "img": canvas,
        "names": [item.names["en"] for _, item in placed],
        "kinds": [item.category.lower().replace("&", "and") or "other" for _, item in placed],
        "boxes": [list(box) for box, _ in placed],
    }


def _paste(
    canvas: np.ndarray, sprite: np.ndarray, taken: list[Box], generator: np.random.Generator
) -> Box | None:
    """Draw a picture at a free place; its box, or None if there is no room."""
    from PIL import Image

    size = int(generator.integers(SMALLEST, LARGEST + 1))
    drawn = np.asarray(Image.fromarray(sprite).resize((size, size), Image.Resampling.BOX))
    x0, y0, x1, y1 = _visible(drawn)
    for x, y in generator.integers(0, CANVAS - size + 1, size=(_ATTEMPTS, 2)).tolist():
        box = (x + x0, y + y0, x + x1, y + y1)
        if not any(_overlap(box, other) for other in taken):
            alpha = drawn[..., 3:].astype(np.float32) / 255
            region = canvas[y : y + size, x : x + size]
            region[:] = (drawn[..., :3] * alpha + region * (1 - alpha)).round().astype(np.uint8)
            return box
    return None


def _trimmed(sprite: np.ndarray) -> np.ndarray:
    """The square around the visible part."""
    x0, y0, x1, y1 = _visible(sprite)
    side = max(x1 - x0, y1 - y0)
    left, top = min(x0, sprite.shape[1] - side), min(y0, sprite.shape[0] - side)
    return sprite[top : top + side, left : left + side]


def _visible(sprite: np.ndarray) -> Box:
    """Box of the pixels that are at least half opaque."""
    rows, columns = (np.flatnonzero((sprite[..., 3] >= 128).any(axis=axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def named(rows: list[Row], generator: np.random.Generator) -> list[Row]:
    """Rows ``img, cap, box, boxes``: one object of each scene is named."""
    found = []
    for row in rows:
        index = int(generator.integers(len(row["names"])))
        found.append(
            {
                "img": row["img"],
                "cap": row["names"][index],
                "box": row["boxes"][index],
                "boxes": row["boxes"],
            }
        )
    return found
