"""BVH, rotations and forward kinematics against independent references and round trips."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ofa_modality_motion.bvh import read_bvh, write_bvh
from ofa_modality_motion.kinematics import joint_positions
from ofa_modality_motion.rotation import euler_to_matrix, matrix_from_6d, matrix_to_6d, matrix_to_euler

HEADER = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Spine
  {
    OFFSET 0 2 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 1 0
    }
  }
  JOINT Left Leg
  {
    OFFSET 1 -2 0
    CHANNELS 3 Yrotation Zrotation Xrotation
    End Site
    {
      OFFSET 0 -3 0
    }
  }
}
"""
ORDERS = ["".join(order) for order in itertools.permutations("XYZ")]
angles = st.lists(st.floats(-180, 180), min_size=3, max_size=3)


def bvh_text(frames: np.ndarray, fps: float = 25.0) -> str:
    lines = [" ".join(map(str, frame)) for frame in frames]
    return HEADER + "\n".join(["MOTION", f"Frames: {len(frames)}", f"Frame Time: {1 / fps}", *lines]) + "\n"


@given(st.integers(1, 4), st.integers(0, 2**31), st.sampled_from([24.0, 25.0, 120.0]))
def test_what_is_written_is_read_back(count: int, seed: int, fps: float) -> None:
    skeleton, frames, _ = read_bvh(bvh_text(np.random.default_rng(seed).uniform(-180, 180, (count, 12)), fps))
    again, found, rate = read_bvh(write_bvh(skeleton, frames, fps))
    assert again == skeleton
    assert np.allclose(found, frames, atol=1e-6)
    assert abs(rate - fps) < 1e-3
    assert [joint.name for joint in skeleton.joints] == ["Hips", "Spine", "End", "Left Leg", "End"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, "no MOTION section"),
        (bvh_text(np.zeros((2, 11))), "line 28: 11 numbers for 12 channels"),
        (bvh_text(np.zeros((2, 12))).replace("Frames: 2", "Frames: 3"), "3 frames .* announced, 2 lines found"),
        (bvh_text(np.zeros((1, 12))).replace("CHANNELS 3", "CHANNELS 4", 1), "line 9 of the hierarchy"),
        (bvh_text(np.zeros((1, 12))).replace("OFFSET 0 2 0", "OFFSET 0 two 0"), "line 8 of the hierarchy"),
    ],
)
def test_damage_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_bvh(text)


@given(angles, st.sampled_from(ORDERS))
def test_euler_angles_agree_with_scipy_and_come_back(values: list[float], order: str) -> None:
    matrix = euler_to_matrix(np.array(values), order)
    assert np.allclose(matrix, Rotation.from_euler(order, values, degrees=True).as_matrix(), atol=1e-9)
    assert np.allclose(euler_to_matrix(matrix_to_euler(matrix, order), order), matrix, atol=1e-4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("middle", [90.0, -90.0])
def test_gimbal_lock_keeps_the_rotation(order: str, middle: float) -> None:
    matrix = euler_to_matrix(np.array([33.0, middle, -71.0]), order)
    assert np.allclose(euler_to_matrix(matrix_to_euler(matrix, order), order), matrix, atol=1e-6)


@given(st.lists(st.floats(-5, 5), min_size=6, max_size=6), angles)
def test_six_numbers_always_give_a_rotation_and_keep_one(values: list[float], euler: list[float]) -> None:
    found = matrix_from_6d(np.array(values))
    assert np.allclose(found @ found.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(found) > 0.99
    rotation = euler_to_matrix(np.array(euler), "ZXY")
    assert np.allclose(matrix_from_6d(matrix_to_6d(rotation)), rotation, atol=1e-9)


def test_joints_stand_where_their_parents_turn_them() -> None:
    skeleton, _, _ = read_bvh(bvh_text(np.zeros((1, 12))))
    frames = np.zeros((2, 12))
    frames[1, :4] = [10, 20, 30, 90]
    places = joint_positions(skeleton, frames)
    assert np.allclose(places[0], [[0, 0, 0], [0, 2, 0], [0, 3, 0], [1, -2, 0], [1, -5, 0]])
    expected = [[10, 20, 30], [8, 20, 30], [7, 20, 30], [12, 21, 30], [15, 21, 30]]
    assert np.allclose(places[1], expected)
