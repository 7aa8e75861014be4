"""Statistics, segments, and the way back to the caller's units."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from ofa_modality_motion.bvh import read_bvh_file, write_bvh
from ofa_modality_motion.kinematics import joint_positions
from ofa_modality_motion.preprocessor import Motion6dPreprocessor, MotionPreprocessor
from ofa_modality_motion.skeleton import Joint, Skeleton
from ofacore.protocols import (
    Artifact,
    DenseSegment,
    Hypothesis,
    RowContext,
    RowError,
    SlotPlan,
    Split,
    Vocabulary,
)

RNG = np.random.default_rng(0)
TURNS = ("Zrotation", "Xrotation", "Yrotation")
FIGURE = Skeleton(
    (
        Joint("Hips", -1, (0.0, 0.0, 0.0), ("Xposition", "Yposition", "Zposition", *TURNS)),
        Joint("Spine", 0, (0.0, 2.0, 0.0), TURNS),
        Joint("End", 1, (0.0, 1.0, 0.0), ()),
        Joint("Leg", 0, (1.0, -2.0, 0.0), ("Yrotation", "Zrotation", "Xrotation")),
        Joint("End", 3, (0.0, -3.0, 0.0), ()),
    )
)
CLIPS = [RNG.normal(5.0, 3.0, (count, 6)) for count in (20, 30, 40)]


def slot(preprocessor: str = "motion", loss: bool = True, **attributes: object) -> SlotPlan:
    return SlotPlan("m", "MOTION", "target", 0, preprocessor, "motion", attributes, loss=loss)


def context(split: Split = "test", seed: int = 0, **row: object) -> RowContext:
    return RowContext(row, "task", split, np.random.default_rng(seed))


def fitted(
    clips: list[object], cls: type[MotionPreprocessor] = MotionPreprocessor, **options: object
) -> MotionPreprocessor:
    preprocessor = cls({"max_dim": 40, **options})
    artifact = preprocessor.fit(clips, np.random.default_rng(0))
    preprocessor.bind(Vocabulary(), Artifact(dict(artifact.files)))
    return preprocessor


def encode(
    preprocessor: MotionPreprocessor, value: object, plan: SlotPlan, ctx: RowContext
) -> DenseSegment:
    (segment,) = preprocessor.encode(value, plan, ctx)
    assert isinstance(segment, DenseSegment)
    return segment


def count_frames(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.n_frames


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    path = tmp_path / "walk.bvh"
    steps = np.cumsum(np.random.default_rng(3).uniform(-5, 5, (20, 12)), axis=0)
    path.write_text(write_bvh(FIGURE, steps, 25.0))
    return path


def test_frames_of_all_clips_together_have_mean_zero_and_deviation_one() -> None:
    preprocessor = fitted(CLIPS)
    frames = np.concatenate(
        [encode(preprocessor, clip, slot(), context()).features["frames"][:, :6] for clip in CLIPS]
    )
    assert np.allclose(frames.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(frames.std(axis=0), 1, atol=1e-5)


def test_clips_of_several_sizes_keep_statistics_apart_and_order_does_not_matter() -> None:
    wide = [np.ones((20, 9)) * 100 + RNG.normal(size=(20, 9))]
    rng = np.random.default_rng(0)
    artifacts = [
        MotionPreprocessor({}).fit(clips, rng) for clips in (CLIPS + wide, wide + CLIPS[:], CLIPS)
    ]
    assert artifacts[0].digest == artifacts[1].digest != artifacts[2].digest
    preprocessor = fitted(CLIPS + wide)
    assert (
        abs(encode(preprocessor, wide[0], slot(), context()).features["frames"][:, :9].mean())
        < 1e-4
    )
    with pytest.raises(
        RowError, match="5 numbers a frame, but this model was fitted on clips of 6, 9"
    ):
        preprocessor.encode(np.zeros((20, 5)), slot(), context())


def test_a_slot_may_insist_on_its_size_where_the_model_knows_several() -> None:
    preprocessor = fitted([*CLIPS, np.zeros((20, 9))])
    assert preprocessor.encode(CLIPS[0], slot(dims=6), context())
    with pytest.raises(RowError, match="column 'm': 9 numbers a frame, but the slot says dims=6"):
        preprocessor.encode(np.zeros((20, 9)), slot(dims=6), context())


def in_columns(columns: dict[tuple[str, str], list[np.ndarray]]) -> MotionPreprocessor:
    preprocessor = MotionPreprocessor({"max_dim": 40})
    values = [(*column, clip) for column, clips in columns.items() for clip in clips]
    preprocessor.bind(Vocabulary(), preprocessor.fit_columns(values, np.random.default_rng(0)))
    return preprocessor


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_clip_of_another_size_than_most_of_its_column_is_a_bad_row(place: int) -> None:
    clips = [*CLIPS]
    clips.insert(place, np.zeros((20, 5)))
    preprocessor = in_columns({("task", "m"): clips})
    assert preprocessor.encode(CLIPS[0], slot(), context())
    with pytest.raises(
        RowError,
        match="column 'm': 5 numbers a frame, but most training clips of this column have 6",
    ):
        preprocessor.encode(clips[place], slot(), context())
    assert preprocessor.encode(clips[place], slot(dims=5), context())
    assert (
        preprocessor.expect(
            slot(), RowContext({}, "free", "infer", np.random.default_rng(0))
        ).length
        == 30
    )


def test_a_column_may_have_clips_of_several_sizes() -> None:
    wide = [np.ones((20, 9)) + number for number in range(len(CLIPS))]
    preprocessor = in_columns({("task", "m"): [*CLIPS, *wide]})
    assert preprocessor.encode(CLIPS[0], slot(), context()) and preprocessor.encode(
        wide[0], slot(), context()
    )


def test_columns_of_several_tasks_keep_their_own_sizes() -> None:
    wide = np.ones((20, 9))
    preprocessor = in_columns({("task", "m"): CLIPS, ("other", "m"): [wide], ("task", "w"): [wide]})
    other = RowContext({}, "other", "infer", np.random.default_rng(0))
    produced = Hypothesis(np.zeros((12, 40), np.float32))
    assert preprocessor.decode(produced, slot(), other).shape == (12, 9)
    assert preprocessor.decode(produced, slot(), context("infer")).shape == (12, 6)
    with pytest.raises(
        RowError, match="9 numbers a frame, but most training clips of this column have 6"
    ):
        preprocessor.encode(wide, slot(), context())


def test_numbers_too_large_to_normalise_are_an_error() -> None:
    with pytest.raises(RowError, match="column 'm': numbers up to 1e\\+300 are too large"):
        fitted(CLIPS).encode(np.full((20, 6), 1e300), slot(), context())


def test_numbers_that_never_change_stay_finite() -> None:
    segment = encode(fitted([np.ones((20, 2))]), np.ones((20, 2)), slot(), context())
    assert np.isfinite(segment.features["frames"]).all()


def test_decoding_what_was_encoded_gives_the_clip() -> None:
    preprocessor = fitted(CLIPS)
    frames = encode(preprocessor, CLIPS[0], slot(), context()).features["frames"]
    found = preprocessor.decode(Hypothesis(frames), slot(), context())
    assert found.dtype == np.float32
    assert np.allclose(found, CLIPS[0], atol=1e-4)


def test_decoding_asks_which_size_where_several_are_known() -> None:
    preprocessor = fitted([*CLIPS, np.zeros((20, 9))])
    hypothesis = Hypothesis(np.zeros((12, 40), np.float32))
    with pytest.raises(RowError, match="clips of 6, 9 numbers a frame; write dims="):
        preprocessor.decode(hypothesis, slot(), context())
    assert preprocessor.decode(hypothesis, slot(dims=9), context()).shape == (12, 9)
    assert preprocessor.decode(hypothesis, slot(), context(m=CLIPS[1])).shape == (12, 6)


def test_labels_mask_padding_and_given_frames_and_are_absent_without_loss() -> None:
    preprocessor = fitted(CLIPS)
    value = {"frames": CLIPS[0], "known": [1] * 3 + [0] * 17}
    labels = encode(preprocessor, value, slot(), context()).labels
    assert labels["mask"].sum() == 17 * 6
    assert not labels["mask"][:3].any()
    assert not labels["mask"][:, 6:].any()
    assert encode(preprocessor, value, slot(loss=False), context()).labels is None
    assert (
        encode(preprocessor, CLIPS[0], slot(inbetween="2/5/1"), context())
        .labels["mask"]
        .any(axis=1)
        .sum()
        == 5
    )


def test_lengths_follow_the_attributes() -> None:
    preprocessor = fitted(CLIPS)

    def length(clip: object, **attributes: object) -> int:
        return encode(preprocessor, clip, slot(**attributes), context(n=7)).shape[0]

    assert length(CLIPS[2], max_length=25) == 25
    assert length(CLIPS[0], length="7") == length(CLIPS[0], length="n") == 7
    assert length({"frames": CLIPS[0], "fps": 30}, sample_rate=15.0) == 10
    with pytest.raises(
        RowError, match="5 frames, fewer than min_length=10; min_length=0 accepts every clip"
    ):
        length(CLIPS[0][:5])
    assert length(CLIPS[0][:5], min_length=0) == 5
    with pytest.raises(RowError, match="length=frames is neither a number nor a column"):
        length(CLIPS[0], length="frames")
    with pytest.raises(RowError, match="option max_dim=4 holds fewer"):
        fitted(CLIPS, max_dim=4).encode(CLIPS[0], slot(), context())


def test_the_usual_length_is_that_of_resampled_clips_whatever_their_rates() -> None:
    clips = [
        {"frames": np.zeros((half_seconds, 3)), "fps": 2 * half_seconds}
        for half_seconds in (20, 40)
    ]
    for given in (clips, clips[:1]):
        preprocessor = fitted(given)
        assert preprocessor.expect(slot(sample_rate=30.0), context()).length == 15
        assert preprocessor.expect(slot(), context()).length == round(
            sum(len(c["frames"]) for c in given) / len(given)
        )


def test_anchor_frame_moves_the_root_to_the_origin() -> None:
    preprocessor = fitted(CLIPS)
    frames = encode(preprocessor, CLIPS[0], slot(anchor_frame=4), context()).features["frames"]
    found = preprocessor.decode(Hypothesis(frames), slot(), context())
    assert np.allclose(found[4, :3], 0, atol=1e-4)
    assert np.allclose(found[:, 3:], CLIPS[0][:, 3:], atol=1e-4)
    with pytest.raises(RowError, match="anchor_frame=20 is not within 20 frames"):
        preprocessor.encode(CLIPS[0], slot(anchor_frame=20), context())


def test_training_windows_depend_on_the_generator_alone() -> None:
    preprocessor, plan = fitted(CLIPS), slot(window=True, max_length=10)

    def frames(seed: int) -> bytes:
        return (
            encode(preprocessor, CLIPS[2], plan, context("train", seed))
            .features["frames"]
            .tobytes()
        )

    assert frames(1) == frames(1)
    assert len({frames(seed) for seed in range(10)}) > 1


def test_6d_brings_bvh_back_with_every_joint_in_its_place(walk: Path, tmp_path: Path) -> None:
    skeleton, frames, fps = read_bvh_file(walk)
    preprocessor = fitted([walk], Motion6dPreprocessor)
    segment = encode(preprocessor, walk, slot("motion_6d"), context())
    assert segment.labels["mask"].any(axis=0).sum() == 6 + 6 * 3
    found = preprocessor.decode(
        Hypothesis(segment.features["frames"]), slot("motion_6d"), context()
    )
    assert np.allclose(
        joint_positions(skeleton, found["frames"]), joint_positions(skeleton, frames), atol=1e-3
    )
    preprocessor.save(found, None, tmp_path / "again.bvh")
    again, written, rate = read_bvh_file(tmp_path / "again.bvh")
    assert again == skeleton
    assert np.allclose(written, found["frames"], atol=1e-5)
    assert abs(rate - fps) < 1e-3


def test_6d_anchor_faces_forward_at_the_origin_and_keeps_heights_and_shape(walk: Path) -> None:
    skeleton, frames, _ = read_bvh_file(walk)
    preprocessor = fitted([walk], Motion6dPreprocessor)
    plan = slot("motion_6d", anchor_frame=2)
    segment = encode(preprocessor, walk, plan, context())
    found = preprocessor.decode(Hypothesis(segment.features["frames"]), plan, context())
    ours, theirs = joint_positions(skeleton, found["frames"]), joint_positions(skeleton, frames)
    assert np.allclose(ours[2, 0], [0, theirs[2, 0, 1], 0], atol=1e-3)
    assert np.allclose(ours[..., 1], theirs[..., 1], atol=1e-3)
    spans = [
        np.linalg.norm(places[:, :, None] - places[:, None], axis=-1) for places in (ours, theirs)
    ]
    assert np.allclose(*spans, atol=1e-3)


def test_6d_takes_bare_arrays_with_a_header_and_says_what_it_lacks_otherwise(walk: Path) -> None:
    frames = read_bvh_file(walk)[1]
    preprocessor = fitted([frames], Motion6dPreprocessor, bvh_header=str(walk))
    assert encode(preprocessor, frames, slot("motion_6d"), context()).shape == (20,)
    bare = fitted([walk], Motion6dPreprocessor)
    assert encode(bare, frames, slot("motion_6d"), context()).shape == (20,)
    with pytest.raises(RowError, match="motion_6d needs joints with rotations"):
        bare.encode(CLIPS[0], slot("motion_6d"), context())


def test_pictures_move_and_files_are_written(walk: Path, tmp_path: Path) -> None:
    points = {"frames": CLIPS[0], "fps": 10, "skeleton": {"bones": [[0, 1]], "axes": 3}}
    for number, (preprocessor, value) in enumerate(
        [
            (fitted(CLIPS), CLIPS[0]),
            (fitted([points]), CLIPS[0]),
            (fitted([walk], Motion6dPreprocessor), walk),
        ]
    ):
        path = tmp_path / f"{number}.gif"
        preprocessor.save(value, None, path)
        assert count_frames(path) > 5
        assert preprocessor.render(value).startswith('<img src="data:image/gif;base64,')
    fitted(CLIPS).save(CLIPS[0], None, tmp_path / "a.npy")
    assert np.allclose(np.load(tmp_path / "a.npy"), CLIPS[0])
    with pytest.raises(ValueError, match=r".bvh needs a skeleton with rotations"):
        fitted(CLIPS).save(CLIPS[0], None, tmp_path / "a.bvh")
    with pytest.raises(ValueError, match=r"written as .gif, .bvh or .npy"):
        fitted(CLIPS).save(CLIPS[0], None, tmp_path / "a.mp4")


def test_one_frame_is_a_picture_too(tmp_path: Path) -> None:
    fitted(CLIPS).save(CLIPS[0][:1], None, tmp_path / "one.gif")
    assert count_frames(tmp_path / "one.gif") == 1


def test_pickled_preprocessors_encode_the_same(walk: Path) -> None:
    for preprocessor, value in (
        (fitted(CLIPS), CLIPS[0]),
        (fitted([walk], Motion6dPreprocessor), walk),
    ):
        plan = slot(preprocessor.form)
        first = encode(preprocessor, value, plan, context())
        second = encode(pickle.loads(pickle.dumps(preprocessor)), value, plan, context())
        assert np.array_equal(first.features["frames"], second.features["frames"])


@pytest.mark.parametrize("fps", [10, 24, 30, 60, 120, 240])
def test_a_moving_picture_lasts_as_long_as_its_clip(tmp_path: Path, fps: int) -> None:
    frames = np.cumsum(np.random.default_rng(0).normal(size=(120, 3)), axis=0)
    fitted(CLIPS).save({"frames": frames, "fps": fps}, None, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as picture:
        shown = [frame.info["duration"] for frame in ImageSequence.all_frames(picture)]
    assert min(shown) >= 20
    assert sum(shown) == pytest.approx(1000 * 120 / fps, abs=10)
