"""Metrics: values that can be checked by hand, and merging."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from ofa_modality_motion.manifest import MANIFEST
from ofa_modality_motion.metrics import MotionMse, MotionRetrieval
from ofa_modality_motion.skeleton import Joint, Skeleton


def _clips(level: float, count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [level + rng.normal(size=(rng.integers(10, 20), 4)) for _ in range(count)]


def test_mse_compares_the_frames_that_both_have() -> None:
    metric = MotionMse({})
    assert np.isnan(metric.compute()["mse"])
    metric.update(
        [np.zeros((5, 2)), np.ones((3, 2))], [np.full((3, 2), 2.0), np.ones((9, 2))], [{}, {}]
    )
    assert metric.compute() == {"mse": 2.0}
    assert list(metric.items()) == [4.0, 0.0]
    with pytest.raises(ValueError, match="a prediction of 3 numbers a frame, a reference of 2"):
        metric.update([np.zeros((5, 3))], [np.zeros((5, 2))], [{}])


def test_mse_takes_the_nearest_of_several_references() -> None:
    metric = MotionMse({})
    level = [np.full((4, 2), float(number)) for number in range(4)]
    frames = [np.zeros(2), np.zeros(2)]
    metric.update([level[0]] * 3, [level[2:0:-1], [{"frames": level[3]}], frames], [{}] * 3)
    assert list(metric.items()) == [1.0, 9.0, 0.0]


def test_mse_sees_poses_and_neither_the_writing_of_angles_nor_where_the_clip_begins() -> None:
    turns = ("Zrotation", "Xrotation", "Yrotation")
    root = Joint("root", -1, (0.0, 0.0, 0.0), ("Xposition", "Yposition", "Zposition", *turns))
    figure = Skeleton(
        (root, Joint("arm", 0, (0.0, 2.0, 0.0), turns), Joint("End", 1, (0.0, 1.0, 0.0), ()))
    )
    frames = np.zeros((4, 9))
    frames[:, 6] = [170, 175, 180, 185]
    same = frames.copy()
    same[3, 6] = -175
    same[:, [0, 2]] += 100
    same[:, 5] = 90
    metric = MotionMse({})
    metric.update(
        [{"frames": same, "skeleton": figure}], [{"frames": frames, "skeleton": figure}], [{}]
    )
    assert metric.compute()["mse"] < 1e-9


def test_retrieval_finds_the_label_of_the_nearest_real_clip_and_merges() -> None:
    real = _clips(0, 5, 0) + _clips(5, 5, 1)
    rows = [{"text": "walk"}] * 5 + [{"text": "run"}] * 5
    good, bad = _clips(0, 5, 2) + _clips(5, 5, 3), _clips(5, 5, 4) + _clips(0, 5, 5)
    for predictions, share in ((good, 1.0), (bad, 0.0)):
        whole, first, second = (MotionRetrieval({"label": "text"}) for _ in range(3))
        whole.update(predictions, real, rows)
        first.update(predictions[:3], real[:3], rows[:3])
        second.update(predictions[3:], real[3:], rows[3:])
        first.merge(second)
        assert whole.compute() == first.compute() == {"retrieval": share}
        assert len(whole.items()) == 10
    mixed = MotionRetrieval({"label": "text"})
    mixed.update([np.zeros((5, 3))], real[:1], rows[:1])
    with pytest.raises(ValueError, match="clips of 3 and 4 numbers a frame do not compare"):
        mixed.compute()
    with pytest.raises(ValueError, match="no column 'label' but text"):
        MotionRetrieval({}).update(real[:1], real[:1], rows[:1])


def test_the_manifest_names_things_that_exist() -> None:
    for target in [*(part.target for part in MANIFEST.components), MANIFEST.slots[0].sample]:
        module, name = target.split(":")
        assert hasattr(import_module(module), name)
