"""What a form cannot carry is refused by name; what it moves or resamples stays the same motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ofa_modality_motion.bvh import read_bvh_file, write_bvh
from ofa_modality_motion.clip import Clip
from ofa_modality_motion.forms import FORMS
from ofa_modality_motion.kinematics import comparable_frames, joint_positions, pose_frames
from ofa_modality_motion.preprocessor import Motion6dPreprocessor, MotionPreprocessor
from ofa_modality_motion.skeleton import Joint, PointSkeleton, Skeleton, checked
from ofa_modality_motion.trimming import resampled
from ofacore.plugin import PluginError
from ofacore.protocols import RowContext, RowError, SlotPlan, Vocabulary

PLACES = ("Xposition", "Yposition", "Zposition")
TURNS = ("Zrotation", "Xrotation", "Yrotation")
ROOT = Joint("Hips", -1, (0.0, 0.0, 0.0), (*PLACES, *TURNS))
SPINE = Joint("Spine", 0, (0.0, 2.0, 0.0), TURNS)
TIP = Joint("End", 1, (0.0, 1.0, 0.0), ())


def random_clip(joints: list[Joint], seed: int = 0, frames: int = 12) -> Clip:
    skeleton = checked(joints)
    values = np.random.default_rng(seed).uniform(-80, 80, (frames, skeleton.channels))
    return Clip(values, 30.0, skeleton)


def fitted(kind: type[MotionPreprocessor], *clips: object) -> MotionPreprocessor:
    preprocessor = kind({"max_dim": 64})
    preprocessor.bind(Vocabulary(), preprocessor.fit(clips, np.random.default_rng(0)))
    return preprocessor


def encode(preprocessor: MotionPreprocessor, value: object, **attributes: object) -> np.ndarray:
    plan = SlotPlan("m", "MOTION", "source", 0, preprocessor.form, "motion", attributes)
    ctx = RowContext({}, "task", "test", np.random.default_rng(0))
    (segment,) = preprocessor.encode(value, plan, ctx)
    return segment.features["frames"]


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        (
            [ROOT, SPINE, Joint("Prop", -1, (0, 0, 0), ROOT.channels)],
            "holds one root, this skeleton has 2: 'Hips', 'Prop'; preprocess=motion keeps every channel",
        ),
        (
            [ROOT, Joint("Spine", 0, (0, 2, 0), (*PLACES, *TURNS))],
            "holds the place of the root alone; joint 'Spine' moves .* away from its offset",
        ),
        (
            [ROOT, Joint("Elbow", 0, (0, 2, 0), ("Zrotation",))],
            "needs one rotation about each axis; joint 'Elbow' turns about Z",
        ),
        (
            [ROOT, Joint("Spine", 0, (0, 2, 0), ("Zrotation", "Xrotation", "Zrotation"))],
            "needs one rotation about each axis; joint 'Spine' turns about Z X Z",
        ),
        (
            [Joint("Hips", -1, (0, 0, 0), PLACES), SPINE],
            "needs a root that turns; 'Hips' has channels Xposition",
        ),
        (
            [Joint("Hips", -1, (0, 0, 0), ("Yposition", *TURNS)), SPINE],
            "needs all positions of the root or none",
        ),
    ],
)
def test_6d_names_what_it_cannot_carry_and_plain_motion_keeps_it(
    joints: list[Joint], message: str, tmp_path: Path
) -> None:
    clip = random_clip(joints)
    with pytest.raises(RowError, match=f"column 'm': motion_6d {message}"):
        FORMS["motion_6d"].features(clip, None, "m")
    assert np.array_equal(FORMS["motion"].features(clip, None, "m"), clip.frames)
    fitted(MotionPreprocessor, clip).save(clip, None, tmp_path / "a.bvh")
    skeleton, frames, _ = read_bvh_file(tmp_path / "a.bvh")
    assert isinstance(clip.skeleton, Skeleton)
    assert np.allclose(
        joint_positions(skeleton, frames), joint_positions(clip.skeleton, clip.frames), atol=1e-3
    )
    assert np.isfinite(comparable_frames(frames, skeleton)).all()
    assert np.isfinite(pose_frames(frames, skeleton)).all()


def test_6d_carries_positions_that_only_repeat_the_offset() -> None:
    clip = random_clip([ROOT, Joint("Spine", 0, (0.0, 2.0, 0.0), (*PLACES, *TURNS)), TIP])
    clip.frames[:, 6:9] = [0.0, 2.0, 0.0005]
    found = FORMS["motion_6d"].value(
        FORMS["motion_6d"].features(clip, None, "m"), clip.skeleton, 30.0
    )
    assert isinstance(clip.skeleton, Skeleton)
    ours, theirs = (
        joint_positions(clip.skeleton, frames) for frames in (found["frames"], clip.frames)
    )
    assert np.allclose(ours, theirs, atol=2e-3)


def test_files_hold_joints_in_another_order_with_the_same_places(tmp_path: Path) -> None:
    """Frames follow the joints of the skeleton, a file lists every limb to its end."""
    joints = [
        ROOT,
        SPINE,
        Joint("Leg", 0, (1.0, -2.0, 0.0), TURNS),
        Joint("Head", 1, (0.0, 1.0, 0.0), TURNS),
    ]
    clip = random_clip(joints)
    fitted(MotionPreprocessor, clip).save(clip, None, tmp_path / "a.bvh")
    skeleton, frames, _ = read_bvh_file(tmp_path / "a.bvh")
    assert [joint.name for joint in skeleton.joints] == ["Hips", "Spine", "Head", "Leg"]
    assert isinstance(clip.skeleton, Skeleton)
    expected = joint_positions(clip.skeleton, clip.frames)[:, [0, 1, 3, 2]]
    assert np.allclose(joint_positions(skeleton, frames), expected, atol=1e-3)


def test_the_anchor_moves_places_wherever_they_stand_and_nothing_else() -> None:
    clip = random_clip(
        [Joint("Hips", -1, (0, 0, 0), (*TURNS, "Zposition", "Xposition", "Yposition")), SPINE]
    )
    moved = FORMS["motion"].features(clip, 3, "m")
    assert np.array_equal(moved[:, [0, 1, 2, 6, 7, 8]], clip.frames[:, [0, 1, 2, 6, 7, 8]])
    assert np.allclose(moved[:, 3:6], clip.frames[:, 3:6] - clip.frames[3, 3:6])
    still = random_clip([Joint("Hips", -1, (0, 0, 0), TURNS), SPINE])
    assert np.array_equal(FORMS["motion"].features(still, 3, "m"), still.frames)


def test_the_anchor_moves_all_roots_and_all_points_together() -> None:
    pair = random_clip(
        [ROOT, Joint("Prop", -1, (0, 0, 0), ("Zposition", "Xposition", "Yposition"))]
    )
    assert isinstance(pair.skeleton, Skeleton)
    before = joint_positions(pair.skeleton, pair.frames)
    after = joint_positions(pair.skeleton, FORMS["motion"].features(pair, 2, "m"))
    assert np.allclose(before - before[2, 0], after)
    points = Clip(np.random.default_rng(1).normal(size=(5, 6)), None, PointSkeleton(((0, 2),), 2))
    found = FORMS["motion"].features(points, 1, "m").reshape(5, 3, 2)
    expected = points.frames.reshape(5, 3, 2)
    assert np.allclose(found, expected - expected[1, 0])


def test_skeletons_that_differ_within_a_model_are_told_apart() -> None:
    usual = random_clip([ROOT, SPINE])
    other = random_clip(
        [ROOT, Joint("Spine", 0, (0, 2, 0), ("Xrotation", "Yrotation", "Zrotation"))]
    )
    plain, rotations = fitted(MotionPreprocessor, usual), fitted(Motion6dPreprocessor, usual)
    with pytest.raises(
        RowError, match="number 7 of its frames is Xrotation, in the model's clips Zrotation"
    ):
        encode(plain, other)
    assert encode(rotations, other).shape == encode(rotations, usual).shape
    points = Clip(usual.frames, 30.0, PointSkeleton(((0, 1),), 3))
    with pytest.raises(RowError, match="points and joints with rotations are mixed"):
        encode(plain, points)
    chain = random_clip([ROOT, SPINE, Joint("Head", 1, (0, 1, 0), TURNS)])
    fork = random_clip([ROOT, SPINE, Joint("Head", 0, (0, 1, 0), TURNS)])
    with pytest.raises(RowError, match="its 3 turning joints form another tree"):
        encode(fitted(Motion6dPreprocessor, chain), fork)


def test_resampled_angles_go_the_shorter_way() -> None:
    clip = random_clip([ROOT], frames=2)
    clip.frames[:] = [[0, 0, 0, 179, -10, 0], [0, 300, 0, -179, 10, 0]]
    between = resampled(clip, 60.0, "m").frames[1]
    assert np.allclose(between, [0, 150, 0, 180, 0, 0])


def test_a_header_needs_no_frames_and_a_bad_one_is_named(tmp_path: Path) -> None:
    clip = random_clip([ROOT, SPINE, TIP])
    assert isinstance(clip.skeleton, Skeleton)
    text = write_bvh(clip.skeleton, clip.frames, 30.0)
    empty = write_bvh(clip.skeleton, clip.frames[:0], 30.0)
    for name, content in (("none.bvh", text.partition("MOTION")[0]), ("zero.bvh", empty)):
        (tmp_path / name).write_text(content)
        preprocessor = Motion6dPreprocessor({"max_dim": 64, "bvh_header": str(tmp_path / name)})
        assert preprocessor.fit([clip.frames], np.random.default_rng(0)) is not None
    (tmp_path / "bad.bvh").write_text("ROOT\n")
    for name in ("bad.bvh", "missing.bvh"):
        with pytest.raises(
            PluginError, match=f"the option bvh_header of motion_6d: '.*{name}' cannot be read"
        ):
            Motion6dPreprocessor({"bvh_header": str(tmp_path / name)})
