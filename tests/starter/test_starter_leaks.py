"""No item is in one starter task's training data and in another's validation or test data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations
from typing import Any

import pytest

from ofa_starter import SPLITS, PackageSource, is_fetched, text_id
from ofacore.plugin import Registry
from tests.left_out import first_party, left_out, sources

TEXTS = {
    "tweet_sentiment": ("text",),
    "movie_sentiment": ("text",),
    "infilling": ("text",),
    "g2p": ("word",),
    "spelling": ("right",),
    "translate_en_fr": ("en",),
    "emoji_category": ("name",),
    "emoji_caption": ("cap",),
    "emoji_image": ("cap",),
    "grounding": ("cap",),
    "region_caption": ("cap",),
    "detection": ("names",),
}
"""Task -> columns whose English texts are the items."""
PICTURES = (
    "digits",
    "digit_image",
    "emoji_category",
    "emoji_caption",
    "emoji_caption_multi",
    "emoji_image",
)
"""Tasks whose pictures are the items, at one size."""
CLIPS = ("actions", "text_to_motion")


@pytest.fixture(scope="module")
def built():
    """Task -> its splits, of all presets with data."""
    registry = Registry.discover()
    presets = first_party()
    if not presets or not all(map(is_fetched, sources(presets))):
        pytest.skip("run: ofa data fetch --all")
    return {preset.name: registry.resolve(preset.data)() for preset in presets}


def flat(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else [value]


def by_split(tasks, keys):
    """Split -> item -> tasks that hold it there."""
    found = {split: defaultdict(set) for split in SPLITS}
    for task, splits in tasks.items():
        for split, rows in splits.items():
            for row in rows:
                for item in keys(task, row):
                    found[split][item].add(task)
    return found


def shared(found):
    """Items that are in two splits, with the tasks that hold them in the one and in the other."""
    return [
        (one, other, found[one][item], found[other][item])
        for one, other in combinations(SPLITS, 2)
        for item in found[one].keys() & found[other].keys()
    ]


@pytest.mark.data
def test_no_text_is_on_two_sides(built):
    tasks = {task: built[task] for task in TEXTS if task in built}
    found = by_split(
        tasks, lambda task, row: [text_id(t) for column in TEXTS[task] for t in flat(row[column])]
    )
    assert sum(map(len, found.values())) > 100_000
    assert shared(found) == []


@pytest.mark.data
def test_no_picture_is_on_two_sides(built):
    tasks = {task: built[task] for task in PICTURES if task in built}
    found = by_split(tasks, lambda task, row: [row["img"].tobytes()])
    assert sum(map(len, found.values())) > 3000
    assert shared(found) == []


@pytest.mark.data
def test_no_movement_is_tested_that_another_task_trains(built):
    """Frames are compared by angles of the legs, which do not depend on where a window starts."""
    tasks = {task: built[task] for task in CLIPS if task in built}
    found = by_split(
        tasks, lambda task, row: [frame[6:].tobytes() for frame in row["motion"]["frames"]]
    )
    assert not found["test"].keys() & (found["train"].keys() | found["valid"].keys())


def test_tests_that_are_left_out_are_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("OFA_CACHE", str(tmp_path))
    there, missing = (PackageSource(name, "1.0", "0" * 64, ("*",)) for name in ("there", "missing"))
    marker = tmp_path / "sources" / there.folder / ".complete"
    marker.parent.mkdir(parents=True)
    marker.touch()
    assert left_out([there]) == ""
    assert left_out([there, missing]).startswith(
        "left out: tests (marker 'data') that need missing; "
    )
    assert len(sources(first_party())) > 8
