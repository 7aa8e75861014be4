"""The data of this family: representation, windows, and held-out parts."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ofa_starter import is_fetched
from ofa_task_motion.data import actions, clips, fingerspelling, text_to_motion
from ofa_task_motion.data.skeleton import CHANNELS, HINGES, JOINTS, skeleton
from ofa_task_motion.manifest import MANIFEST

CLOSED = {preset.name: preset.closed_sets for preset in MANIFEST.presets}
moving = pytest.mark.skipif(not is_fetched(clips.PYBULLET), reason="run: ofa data fetch --all")
spelling = pytest.mark.skipif(
    not is_fetched(fingerspelling.SPOKEN_TO_SIGNED), reason="run: ofa data fetch --all"
)


def test_closed_sets_are_those_of_the_data():
    assert CLOSED["actions"] == {"action": actions.NAMES}
    assert CLOSED["fingerspelling"] == {"letter": fingerspelling.NAMES}


def rest(frames):
    """A motion that stands still with all joints straight."""
    return clips.Motion(np.zeros((frames, 3)), np.tile(np.eye(3), (frames, len(JOINTS), 1, 1)))


def test_a_clip_at_rest_has_no_angles(tmp_path):
    frame = [0.05, 1.0, 2.0, 3.0]
    for joint in JOINTS:
        frame += [0.0] if joint in HINGES else [1.0, 0.0, 0.0, 0.0]
    assert len(frame) == 44
    path = tmp_path / "rest.txt"
    path.write_text(json.dumps({"Frames": [frame] * 11}))
    found = clips.channels(clips.read_clip(path))
    assert found.shape == (15, CHANNELS)  # half a second
    np.testing.assert_allclose(found, np.tile([1, 2, 3, *[0] * (CHANNELS - 3)], (15, 1)), atol=1e-5)


def test_windows_of_training_and_test_share_no_frame():
    clip = rest(50)
    clip.root[:, 1] = np.arange(50)
    heights = {
        tested: {
            float(y) for window in clips.windows(clip, 12, 2, tested=tested) for y in window[:, 1]
        }
        for tested in (False, True)
    }
    assert not heights[False] & heights[True] and max(heights[False]) < min(heights[True])


@given(st.floats(-180, 180), st.floats(-5, 5))
def test_where_a_motion_stood_and_faced_makes_no_difference(angle, place):
    clip = rest(5)
    clip.root[:, 0] = np.arange(5)
    turn = Rotation.from_euler("y", angle, degrees=True).as_matrix()
    other = clips.Motion((clip.root + [place, 0, 1]) @ turn.T, turn @ clip.rotations)
    turned = clips.facing_ahead(
        clips.Motion(other.root, np.concatenate([other.rotations[:, :1], clip.rotations[:, 1:]], 1))
    )
    np.testing.assert_allclose(turned.root, clip.root, atol=1e-9)
    np.testing.assert_allclose(turned.rotations, clip.rotations, atol=1e-9)


def test_the_skeleton_is_a_tree_with_the_channels_of_a_frame():
    joints = skeleton()["joints"]
    assert sum(len(joint["channels"]) for joint in joints) == CHANNELS
    assert [joint["parent"] for joint in joints].count(-1) == 1
    assert all(joint["parent"] < number for number, joint in enumerate(joints))


@pytest.mark.data
@moving
@pytest.mark.parametrize("module", [actions, text_to_motion])
def test_every_action_is_trained_and_tested(module):
    splits = module.build()
    for split in ("train", "test"):
        assert {row["action"] for row in splits[split]} == set(actions.NAMES)
        assert all(row["motion"]["frames"].shape[1] == CHANNELS for row in splits[split])
    assert len(module.baseline(splits)) == len(splits["test"])


@pytest.mark.data
@spelling
def test_tested_sign_languages_are_new():
    splits = fingerspelling.build()
    languages = {split: {row["language"] for row in rows} for split, rows in splits.items()}
    assert languages["test"] == {"swl", "gsg", "psr"}
    assert not languages["train"] & (languages["test"] | languages["valid"])
    assert "fsl" not in set.union(*languages.values())
    for row in splits["test"]:
        assert row["motion"]["frames"].shape[0] <= 32 and row["motion"]["frames"].shape[1] == 96
        assert np.isfinite(row["motion"]["frames"]).all()


@pytest.mark.data
@spelling
def test_no_recording_is_in_two_splits():
    splits = fingerspelling.build()
    keys = {
        split: {row["motion"]["frames"].tobytes() for row in rows} for split, rows in splits.items()
    }
    assert not keys["train"] & keys["test"] and not keys["train"] & keys["valid"]
