"""Tree crowns drawn by hand on aerial pictures (deepforest, NEON sites), cut into tiles, rows ``img, boxes``."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ofa_starter import PackageSource, Row, Split, Splits, empty_splits, fetch, prepared

DEEPFOREST = PackageSource(
    "deepforest",
    "2.1.0",
    "8c2798d8e9be7f0004b194fe207b76c1d9fff6e711b3db67b9508dcd5d00ae54",
    (
        "deepforest/data/*_image_crop*.png",
        "deepforest/data/*_image_crop*.xml",
        "deepforest/data/SOAP_061.*",
        "deepforest/data/OSBS_029.png",
        "deepforest/data/OSBS_029.xml",
    ),
    licence="MIT",
)
TILE = 128
VISIBLE = 0.5
"""A box belongs to a tile that shows at least this share of it."""
PICTURES: dict[str, Split] = {
    "2019_YELL_2_528000_4978000_image_crop2": "train",
    "SOAP_061": "train",
    "2019_YELL_2_541000_4977000_image_crop": "test",
    "OSBS_029": "test",
}
"""Pictures are not shared between training and test; every eighth training tile validates."""


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``img`` (uint8 [128, 128, 3]) and ``boxes`` ([x0, y0, x1, y1] in pixels, from top left).

    ``seed`` has no effect.
    """
    return prepared("tree_detection", lambda: _rows(cache), sources=(DEEPFOREST,), cache=cache)


def _rows(cache: Path | None) -> Splits:
    from PIL import Image

    folder, splits = fetch(DEEPFOREST, cache) / "deepforest" / "data", empty_splits()
    for name, split in PICTURES.items():
        picture = np.asarray(Image.open(folder / f"{name}.png").convert("RGB"))
        for number, row in enumerate(_tiles(picture, _boxes(folder / f"{name}.xml"))):
            splits["valid" if split == "train" and number % 8 == 7 else split].append(row)
    return splits


def _boxes(path: Path) -> np.ndarray:
    """float64 [n, 4] of a PASCAL VOC file."""
    found = ElementTree.parse(path).getroot().iter("bndbox")
    return np.array([_corners(box) for box in found])


def _corners(box: ElementTree.Element) -> list[float]:
    return [float(box.findtext(key, "0")) for key in ("xmin", "ymin", "xmax", "ymax")]


def _tiles(picture: np.ndarray, boxes: np.ndarray) -> Iterator[Row]:
    """Tiles side by side that hold at least one box."""
    height, width = picture.shape[:2]
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for y in range(0, height - TILE + 1, TILE):
        for x in range(0, width - TILE + 1, TILE):
            local = (boxes - (x, y, x, y)).clip(0, TILE)
            shown = (local[:, 2:] - local[:, :2]).prod(axis=1) >= VISIBLE * area.clip(1)
            if shown.any():
                ordered = sorted(local[shown].tolist(), key=lambda box: (box[1], box[0]))
                yield {"img": picture[y : y + TILE, x : x + TILE].copy(), "boxes": ordered}


def baseline(splits: Splits) -> list[Row]:
    """As many boxes as a training tile holds on average: the mean first box, the mean second box, and so on."""
    count = round(np.mean([len(row["boxes"]) for row in splits["train"]]).item())
    full = [row["boxes"][:count] for row in splits["train"] if len(row["boxes"]) >= count]
    return [{"boxes": np.mean(full, axis=0).tolist()} for _ in splits["test"]]
