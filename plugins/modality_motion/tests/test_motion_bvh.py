"""BVH, rotations and forward kinematics against independent references and round trips."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ofa_modality_motion.bvh import read_bvh, read_bvh_file, write_bvh
from ofa_modality_motion.kinematics import joint_positions
from ofa_modality_motion.rotation import (
    euler_to_matrix,
    matrix_from_6d,
    matrix_to_6d,
    matrix_to_euler,
)
from ofa_modality_motion.skeleton import Joint, Skeleton, checked

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
    return (
        HEADER
        + "\n".join(["MOTION", f"Frames: {len(frames)}", f"Frame Time: {1 / fps}", *lines])
        + "\n"
    )


@given(st.integers(1, 4), st.integers(0, 2**31), st.sampled_from([24.0, 25.0, 120.0]))
def test_what_is_written_is_read_back(count: int, seed: int, fps: float) -> None:
    skeleton, frames, _ = read_bvh(
        bvh_text(np.random.default_rng(seed).uniform(-180, 180, (count, 12)), fps)
    )
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
        (
            bvh_text(np.zeros((2, 12))).replace("Frames: 2", "Frames: 3"),
            "3 frames announced, 2 lines found; the file",
        ),
        (
            bvh_text(np.zeros((1, 12))).replace("CHANNELS 3", "CHANNELS 4", 1),
            "line 9 of the hierarchy",
        ),
        (
            bvh_text(np.zeros((1, 12))).replace("OFFSET 0 2 0", "OFFSET 0 two 0"),
            "line 8 of the hierarchy",
        ),
    ],
)
def test_damage_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_bvh(text)


PLAIN = bvh_text(np.arange(24.0).reshape(2, 12))
WILD = {
    "a byte order mark": "\ufeff" + PLAIN,
    "braces on the line of the name": PLAIN.replace("Hips\n{", "Hips {").replace(
        "Spine\n  {", "Spine{"
    ),
    "a blank before the colon": PLAIN.replace("Frames:", "Frames :").replace(
        "Frame Time:", "Frame Time :"
    ),
    "no colon": PLAIN.replace("Frames:", "Frames\t"),
    "small and capital letters": PLAIN.replace("End Site", "End site")
    .replace("MOTION", "Motion")
    .upper(),
    "channels in small letters": PLAIN.replace("Zrotation", "zrotation").replace(
        "Xposition", "XPosition"
    ),
    "a joint called MOTION_...": PLAIN.replace("Spine", "MOTION_Spine"),
    "a namespace": PLAIN.replace("Spine", "Model:Spine"),
    "frames over several lines": re.sub(r"((?:\S+ ){5}\S+) ", r"\1\n", PLAIN),
    "line ends of another system": PLAIN.replace("\n", "\r\n"),
    "tabs and blanks at line ends": PLAIN.replace("\n", "\t \n"),
    "blank lines": PLAIN.replace("\n", "\n\n"),
    "everything on a line": " ".join(PLAIN.split()),
}


@pytest.mark.parametrize("kind", WILD)
def test_the_ways_in_which_programs_write_it_are_read(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.bvh").write_text(WILD[kind], encoding="utf-8", newline="")
    skeleton, frames, fps = read_bvh_file(tmp_path / "a.bvh")
    plain, expected, _ = read_bvh(PLAIN)
    assert np.array_equal(frames, expected)
    assert fps == 25.0
    assert [replace(j, name="") for j in skeleton.joints] == [
        replace(j, name="") for j in plain.joints
    ]
    names = [joint.name.lower().split(":")[-1].removeprefix("motion_") for joint in skeleton.joints]
    assert names == [joint.name.lower() for joint in plain.joints]


def test_other_encodings_are_read(tmp_path: Path) -> None:
    text = PLAIN.replace("Spine", "Wirbelsäule")
    for encoding, name in (("utf-16", "Wirbelsäule"), ("latin-1", "Wirbels\\xe4ule")):
        (tmp_path / "a.bvh").write_text(text, encoding=encoding)
        skeleton, frames, _ = read_bvh_file(tmp_path / "a.bvh")
        assert frames.shape == (2, 12)
        assert skeleton.joints[1].name == name


def test_more_frames_than_announced_are_read_and_told_once(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "walk.bvh").write_text(PLAIN.replace("Frames: 2", "Frames: 1"))
    for _ in range(2):
        assert len(read_bvh_file(tmp_path / "walk.bvh")[1]) == 2
    (message,) = caplog.messages
    assert message.endswith("walk.bvh' announces 1 frames and holds 2; all are read")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Frame Time: 0.04", "Frame Time: 0", "'Frame Time: 0' is no positive number of seconds"),
        ("Frame Time: 0.04", "Frame Time: nan", "'Frame Time: nan' is no positive number"),
        (
            "Frame Time: 0.04",
            "Frame Time: 0,04",
            "no positive number of seconds; decimals are written with a point",
        ),
        ("Frame Time: 0.04", "", "after MOTION come 'Frames: n' and 'Frame Time: seconds'"),
        ("Frames: 2", "Frames: two", "'Frames: two' is no number of frames"),
        (" 13.0", " nan", "frame 2: Yposition of joint 'Hips' is not finite"),
        ("13.0", "13,0", "line 29: '13,0' is no number; decimals are written with a point"),
        ("23.0", "", "line 29: 11 numbers for 12 channels"),
        (
            "3 Yrotation",
            "3 Yscale",
            "line 18 .*: joint 'Left Leg' has channel 'Yscale'; export without scale",
        ),
        (
            "3 Yrotation",
            "3 Wrotation",
            "line 18 .*: CHANNELS announces 3, but 'Wrotation' is no channel",
        ),
        (
            "3 Yrotation",
            "three Yrotation",
            "line 18 .*: 'CHANNELS three' does not begin with their number",
        ),
        (
            "6 Xposition Y",
            "6 Yposition Y",
            "joint 'Hips' has channels Yposition Yposition .*: one too many",
        ),
        ("    OFFSET 0 2 0\n", "", "joint 'Spine' of the hierarchy has no OFFSET"),
        ("OFFSET 0 2 0", "OFFSET 0 inf 0", "line 8 of the hierarchy: an offset is not finite"),
        (
            "OFFSET 0 2 0",
            "OFFSET 0 2 0 OFFSET 0 3 0",
            "line 8 .*: a second OFFSET of joint 'Spine'",
        ),
        ("JOINT Spine", "ROOT Spine", "line 6 .*: ROOT 'Spine' stands within another joint"),
        ("JOINT Spine\n  {", "JOINT Spine", "line 6 .*: no brace behind 'JOINT Spine'"),
        ("  }\n}\n", "  }\n", "a brace of the hierarchy is not closed"),
        (
            "  }\n}\n",
            "  }\n  OFFSET 0 1 0\n}\n",
            "line 24 .*: OFFSET of joint 'Hips' stands behind its children",
        ),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_place(old: str, new: str, message: str) -> None:
    assert old in PLAIN
    with pytest.raises(ValueError, match=message):
        read_bvh(PLAIN.replace(old, new, 1))


@st.composite
def skeletons(draw: st.DrawFn) -> Skeleton:
    """Any hierarchy: several roots, joints in any order behind their parents, any channels."""
    joints = []
    for number in range(draw(st.integers(1, 7))):
        parent = draw(st.integers(-1, number - 1))
        places = draw(st.permutations(["Xposition", "Yposition", "Zposition"]))[
            : draw(st.sampled_from([0, 0, 1, 3]))
        ]
        turns = draw(st.lists(st.sampled_from(["Xrotation", "Yrotation", "Zrotation"]), max_size=3))
        offset = draw(st.tuples(*[st.integers(-500, 500)] * 3))
        name = draw(
            st.sampled_from(["Hips", "Left Leg", "End", "a:b", "b{c}", " ", "MOTION", "JOINT"])
        )
        joints.append(Joint(name, parent, tuple(n / 8 for n in offset), (*places, *turns)))  # type: ignore[arg-type]
    return checked(joints)


@given(
    skeletons(),
    st.integers(1, 3),
    st.integers(0, 2**31),
    st.sampled_from([1e-3, 24.0, 29.97, 120.0, 1e6]),
)
def test_whatever_is_written_is_read_back(
    skeleton: Skeleton, count: int, seed: int, fps: float
) -> None:
    frames = np.random.default_rng(seed).uniform(-180, 180, (count, skeleton.channels))
    again, found, rate = read_bvh(write_bvh(skeleton, frames, fps))
    assert rate == pytest.approx(fps, rel=1e-6)
    assert found.shape == frames.shape
    ours, theirs = joint_positions(skeleton, frames), joint_positions(again, found)
    order = np.lexsort(ours[0].round(3).T), np.lexsort(theirs[0].round(3).T)
    assert len(again.joints) == len(skeleton.joints)
    assert len(again.roots) == len(skeleton.roots)
    assert sorted(again.channel_names) == sorted(skeleton.channel_names)
    assert np.allclose(ours[0][order[0]], theirs[0][order[1]], atol=1e-3)
    third, same, _ = read_bvh(write_bvh(again, found, fps))
    assert third == again
    assert np.allclose(same, found, atol=1e-6)


def test_writing_refuses_what_reading_would() -> None:
    skeleton, frames, _ = read_bvh(PLAIN)
    for bad, fps in ((np.full_like(frames, np.nan), 25.0), (frames, 0.0), (frames, math.inf)):
        with pytest.raises(ValueError, match="finite numbers and a positive rate"):
            write_bvh(skeleton, bad, fps)


def test_a_second_root_and_moving_joints_stand_where_their_channels_say() -> None:
    channels = ("Xposition", "Yposition", "Zposition", "Zrotation", "Xrotation", "Yrotation")
    joints = [
        Joint("a", -1, (0, 0, 0), channels),
        Joint("tip", 0, (0, 1, 0), channels[:3]),
        Joint("b", -1, (9, 9, 9), channels),
    ]
    frames = np.array([[1, 2, 3, 90, 0, 0, 0, 5, 0, 50, 20, -30, 0, 0, 0]], dtype=float)
    places = joint_positions(checked(joints), frames)
    assert np.allclose(places[0], [[1, 2, 3], [-4, 2, 3], [50, 20, -30]])


@given(angles, st.sampled_from(ORDERS))
def test_euler_angles_agree_with_scipy_and_come_back(values: list[float], order: str) -> None:
    matrix = euler_to_matrix(np.array(values), order)
    assert np.allclose(
        matrix, Rotation.from_euler(order, values, degrees=True).as_matrix(), atol=1e-9
    )
    assert np.allclose(euler_to_matrix(matrix_to_euler(matrix, order), order), matrix, atol=1e-4)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("middle", [90.0, -90.0])
def test_gimbal_lock_keeps_the_rotation(order: str, middle: float) -> None:
    matrix = euler_to_matrix(np.array([33.0, middle, -71.0]), order)
    angles = matrix_to_euler(matrix, order)
    assert np.allclose(euler_to_matrix(angles, order), matrix, atol=1e-6) and angles[2] == 0.0


@given(st.lists(st.floats(-5, 5), min_size=6, max_size=6), angles)
def test_six_numbers_always_give_a_rotation_and_keep_one(
    values: list[float], euler: list[float]
) -> None:
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
