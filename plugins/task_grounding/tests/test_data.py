"""The data of this family: boxes are exact, and scenes of different splits share no object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from ofa_starter import Split, is_fetched
from ofa_task_grounding.data import (
    compositions,
    detection,
    grounding,
    region_caption,
    tree_detection,
)
from ofacore.plugin import Registry

SOURCES = Registry.discover().load("dataset", "openmoji")().sources
fetched = pytest.mark.skipif(not all(map(is_fetched, SOURCES)), reason="run: ofa data fetch --all")


@dataclass(frozen=True)
class Thing:
    """An item that needs no data."""

    code: str
    names: dict[str, str]
    category: str = "Objects"
    split: Split = "train"


def items(count):
    return [Thing(str(n), {"en": f"object {n}"}) for n in range(count)]


def square(colour):
    """A picture of a square that fills its middle half."""
    picture = np.zeros((72, 72, 4), np.uint8)
    picture[18:54, 18:54] = (*colour, 255)
    return picture


def test_a_box_holds_exactly_the_pixels_of_its_object():
    sprites = {
        str(n): compositions._trimmed(square(colour))
        for n, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    }
    colours = {"object 0": 0, "object 1": 1, "object 2": 2}
    for seed in range(20):
        row = compositions._scene(items(3), sprites, np.random.default_rng(seed))
        for name, (x0, y0, x1, y1) in zip(row["names"], row["boxes"], strict=True):
            strong = row["img"][..., colours[name]] == 255
            other = row["img"][..., (colours[name] + 1) % 3] == 0
            rows, columns = np.nonzero(strong & other)
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (
                x0,
                y0,
                x1,
                y1,
            )


def test_tiles_keep_the_boxes_they_mostly_show():
    picture = np.zeros((256, 256, 3), np.uint8)
    boxes = np.array([[10.0, 10, 30, 30], [120, 120, 140, 130], [100, 10, 160, 20]])
    rows = list(tree_detection._tiles(picture, boxes))
    assert [row["boxes"] for row in rows] == [[[10, 10, 30, 30]], [[0, 10, 32, 20]]]


@pytest.mark.data
@fetched
def test_scenes_of_different_splits_share_no_name():
    splits = detection.build()
    names = {
        split: {name for row in rows for name in row["names"]} for split, rows in splits.items()
    }
    assert not names["train"] & names["test"] and not names["train"] & names["valid"]
    for row in splits["test"]:
        assert 1 <= len(row["boxes"]) == len(row["names"]) == len(row["kinds"]) <= 3
        assert all(0 <= x0 < x1 <= 64 and 0 <= y0 < y1 <= 64 for x0, y0, x1, y1 in row["boxes"])


@pytest.mark.data
@fetched
def test_the_named_box_is_that_of_the_name():
    for row, scene in zip(grounding.build()["test"], detection.build()["test"], strict=True):
        assert scene["boxes"][scene["names"].index(row["cap"])] == row["box"]
    assert region_caption.build()["test"][0]["cap"] == grounding.build()["test"][0]["cap"]


@pytest.mark.data
@pytest.mark.skipif(not is_fetched(tree_detection.DEEPFOREST), reason="run: ofa data fetch --all")
def test_trees():
    splits = tree_detection.build()
    assert len(splits["train"]) > 150 and len(splits["test"]) > 60
    for row in splits["test"]:
        assert row["img"].shape == (128, 128, 3)
        assert all(0 <= x0 < x1 <= 128 and 0 <= y0 < y1 <= 128 for x0, y0, x1, y1 in row["boxes"])
    assert len(tree_detection.baseline(splits)) == len(splits["test"])
