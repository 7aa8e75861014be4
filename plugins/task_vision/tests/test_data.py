"""The data of this family: shapes, values, and agreement with the manifest."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_starter import is_fetched
from ofa_task_vision.data import (
    digits,
    emoji_caption,
    emoji_caption_multi,
    emoji_category,
    emoji_image,
)
from ofa_task_vision.data.openmoji import OpenMoji
from ofa_task_vision.manifest import MANIFEST

CLOSED = {preset.name: preset.closed_sets for preset in MANIFEST.presets}
fetched = pytest.mark.skipif(
    not all(map(is_fetched, OpenMoji().sources)), reason="run: ofa data fetch --all"
)


def test_closed_sets_are_those_of_the_data():
    assert CLOSED["digits"] == {"digit": digits.NAMES}
    assert CLOSED["emoji_category"] == {"category": emoji_category.NAMES}


def test_digits_come_with_scikit_learn(tmp_path):
    splits = digits.build(tmp_path)
    assert sum(len(rows) for rows in splits.values()) == 1797
    assert all(
        row["img"].shape == (32, 32, 3) and row["digit"] in digits.NAMES for row in splits["test"]
    )
    assert splits["test"][0]["img"].max() > 200
    accuracy = np.mean(
        [
            p["digit"] == r["digit"]
            for p, r in zip(digits.baseline(splits), splits["test"], strict=True)
        ]
    )
    assert 0 < accuracy < 0.2


@pytest.mark.data
@fetched
def test_pictures_show_something():
    for row in emoji_category.build()["test"]:
        assert (
            row["img"].shape == (32, 32, 3)
            and row["img"].std() > 5
            and row["category"] in emoji_category.NAMES
        )


@pytest.mark.data
@fetched
def test_ten_different_candidates_hold_the_right_name():
    splits = emoji_caption.build()
    train = {row["cap"] for row in splits["train"]}
    for row in splits["test"]:
        assert (
            len(set(row["candidates"])) == 10
            and row["cap"] in row["candidates"]
            and row["cap"] not in train
        )


@pytest.mark.data
@fetched
def test_every_training_picture_has_a_name_in_every_language():
    splits = emoji_caption_multi.build()
    assert {row["language"] for row in splits["test"]} == set(
        emoji_caption_multi.LANGUAGES.values()
    )
    assert len(splits["train"]) == 8 * len(emoji_caption.build()["train"])


@pytest.mark.data
@fetched
def test_the_mean_picture_is_the_best_guess_without_a_name():
    splits = emoji_image.build()
    (first, *_), test = emoji_image.baseline(splits), splits["test"]
    assert first["img"].shape == (32, 32, 3) and first["img"].dtype == np.uint8
    pictures = np.stack([row["img"] for row in test]).astype(float)
    white = ((pictures - 255.0) ** 2).mean()
    assert ((pictures - first["img"]) ** 2).mean() < white
