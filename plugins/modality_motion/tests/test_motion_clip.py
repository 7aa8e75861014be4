"""Accepted values, cutting, and what is said about unusable ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ofa_modality_motion.clip import Clip, load_clip
from ofa_modality_motion.inbetween import with_known_ends
from ofa_modality_motion.trimming import Cut, cut_clip, resampled
from ofa_modality_motion.values import is_motion
from ofacore.protocols import RowError

JOINT = {
    "name": "a",
    "parent": -1,
    "offset": [0, 0, 0],
    "channels": ["Xposition", "Yposition", "Zposition"],
}
FRAMES = np.arange(24, dtype=np.float64).reshape(8, 3)


def test_every_accepted_form_gives_the_same_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FRAMES.astype(np.float32))
    np.savez(tmp_path / "a.npz", frames=FRAMES, fps=12.0)
    np.savez(tmp_path / "b.npz", anything=FRAMES)
    forms = [
        FRAMES,
        FRAMES.tolist(),
        {"frames": FRAMES.tolist()},
        tmp_path / "a.npy",
        str(tmp_path / "a.npz"),
    ]
    for form in [*forms, tmp_path / "b.npz"]:
        assert is_motion(form)
        assert np.array_equal(load_clip(form, "m").frames, FRAMES)
    assert load_clip(tmp_path / "a.npz", "m").fps == 12.0


def test_the_content_of_a_file_is_read_as_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FRAMES)
    np.savez(tmp_path / "a.npz", frames=FRAMES, fps=np.array([12]))
    joint = "ROOT a { OFFSET 0 0 0 CHANNELS 3 Xposition Yposition Zposition }"
    numbers = "\n".join(" ".join(map(str, frame)) for frame in FRAMES)
    (tmp_path / "a.bvh").write_text(
        f"HIERARCHY {joint} MOTION\nFrames: 8\nFrame Time: 0.1\n{numbers}"
    )
    for name in ("a.npy", "a.npz", "a.bvh"):
        content = (tmp_path / name).read_bytes()
        assert is_motion(content)
        found, expected = load_clip(content, "m"), load_clip(tmp_path / name, "m")
        assert np.array_equal(found.frames, FRAMES)
        assert (found.fps, found.skeleton) == (expected.fps, expected.skeleton)


def test_no_message_is_longer_than_a_screen() -> None:
    many = {f"column {number}": 0 for number in range(9999)}
    for value in (
        b"\x93NUMPY" + bytes(10**6),
        b"x" * 10**6,
        "x" * 10**6,
        [["x" * 10**6]],
        many,
        "9" * 200 + ".npy",
    ):
        with pytest.raises(RowError) as caught:
            load_clip(value, "m")
        assert len(str(caught.value)) < 700


def test_a_rate_may_be_any_number() -> None:
    for fps in (12, 12.0, np.float32(12), np.int64(12), np.array(12), np.array([12.0])):
        assert load_clip({"frames": FRAMES, "fps": fps}, "m").fps == 12.0


def test_a_list_of_clips_is_not_one_clip() -> None:
    assert not any(
        is_motion(value) for value in ([FRAMES], [FRAMES.tolist()], [1.0, 2.0], None, 3, {"fps": 1})
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("walk.txt", "'walk.txt' is no motion file"),
        ("walk.npy", "no file 'walk.npy'"),
        ("walk.npy", "no file 'walk.npy' below /"),
        ([[1, 2], [1]], "its frames have unequal numbers of numbers"),
        (np.zeros(5), r"shape \[5\]"),
        (
            np.full((2, 2), np.nan),
            "has 4 numbers that are not finite; the first is number 0 of frame 0",
        ),
        (
            np.zeros((8, 5, 3)),
            r"shape \[8, 5, 3\]; give \[frames, points \* axes\]: frames.reshape\(8, 15\)",
        ),
        (np.zeros((8, 3), complex), "it holds complex128, not numbers"),
        (np.zeros((8, 3), "datetime64[s]"), "not numbers"),
        (b"nothing", "the content of 7 bytes is no .npy, .npz or .bvh"),
        (
            b"HIERARCHY ROOT a { OFFSET 0 0 0 } MOTION Frames: 0 Frame Time: 1\n",
            "has a skeleton but no frames",
        ),
        ({"frames": FRAMES, "fps": float("nan")}, "fps=nan must be a positive number"),
        ({"frames": FRAMES, "fps": "12"}, "fps='12' must be a positive number"),
        ({"frames": FRAMES, "fps": True}, "fps=True must be a positive number"),
        ({"frames": FRAMES, "known": ["a"] * 8}, "'known' has shape .* one number a frame"),
        ({"frames": FRAMES, "skeleton": {"bones": [[0, -1]]}}, "counted from 0"),
        (
            {"frames": FRAMES, "skeleton": {"joints": [JOINT | {"parent": 0}]}},
            "joint 0 .* has parent 0; parents come",
        ),
        (
            {"frames": FRAMES, "skeleton": {"joints": [JOINT | {"channels": ["Wposition"]}]}},
            "'Wposition' is none of X",
        ),
        (
            {"frames": FRAMES, "skeleton": {"joints": [JOINT | {"offset": [0, 0, np.inf]}]}},
            "offset that is not finite",
        ),
        ({"frames": FRAMES, "skeleton": {"joints": []}}, "at least one joint"),
        ([["a", "b"]], "is no clip"),
        ({"fps": 3}, "a dict with 'fps' is no clip"),
        ({"frames": FRAMES, "fps": 0}, "fps=0 must be a positive number"),
        ({"frames": FRAMES, "known": [1, 0]}, "'known' has shape"),
        (
            {"frames": FRAMES, "skeleton": {"bones": [[0, 7]]}},
            "3 numbers a frame are not 8 points of 3 axes",
        ),
        (
            {"frames": FRAMES, "skeleton": {"parents": [0]}},
            "a skeleton is a dict with 'bones' or 'joints'",
        ),
    ],
)
def test_errors_say_what_is_wrong(value: object, message: str) -> None:
    with pytest.raises(RowError, match=message) as caught:
        load_clip(value, "m")
    assert "column 'm'" in str(caught.value)


def test_pickled_objects_in_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("hello")
    for name in ("evil.npy", "text.npy"):
        with pytest.raises(
            RowError,
            match=f"{name}' cannot be read \\(it holds no plain array of numbers; write it",
        ):
            load_clip(tmp_path / name, "m")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    for name in ("a.npy", "a.npz", "a.bvh"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(RowError, match=f"{name}' cannot be read"):
            load_clip(tmp_path / name, "m")
    np.savez(tmp_path / "two.npz", x=FRAMES, y=FRAMES)
    with pytest.raises(RowError, match="arrays x, y; name one of them 'frames'"):
        load_clip(tmp_path / "two.npz", "m")


def test_resampling_reads_a_straight_line_exactly() -> None:
    line = Clip(np.arange(31.0)[:, None], fps=30.0)
    assert np.allclose(resampled(line, 10.0, "m").frames[:, 0], np.arange(0, 30, 3))
    assert np.allclose(resampled(line, 60.0, "m").frames[:, 0], np.minimum(np.arange(62) / 2, 30))
    with pytest.raises(RowError, match="sample_rate=10 needs the clip's own rate"):
        resampled(Clip(line.frames), 10.0, "m")


@given(
    st.integers(1, 80),
    st.integers(0, 12),
    st.integers(12, 40),
    st.floats(0, 1),
    st.booleans(),
    st.integers(0, 9),
)
def test_cuts_are_contiguous_and_of_the_promised_length(
    count: int, low: int, high: int, trim: float, window: bool, seed: int
) -> None:
    clip, cut = (
        Clip(np.arange(float(count))[:, None]),
        Cut(low, high, soft_trim=trim, window=window),
    )
    if count < low:
        with pytest.raises(RowError, match=f"{count} frames, fewer than min_length={low}"):
            cut_clip(clip, cut, None, "m")
        return
    for rng in (None, np.random.default_rng(seed)):
        found = cut_clip(clip, cut, rng, "m").frames[:, 0]
        assert (np.diff(found) == 1).all()
        assert max(1, min(low, count)) <= len(found) <= high
        if rng is None:
            assert len(found) == min(count, high) == cut.length(count, None)


def test_windows_are_central_in_evaluation_and_anywhere_in_training() -> None:
    clip, cut = Clip(np.arange(20.0)[:, None]), Cut(0, 10, window=True)
    assert cut_clip(clip, cut, None, "m").frames[0, 0] == 5
    starts = {
        cut_clip(clip, cut, np.random.default_rng(seed), "m").frames[0, 0] for seed in range(100)
    }
    assert starts == set(range(11))


def test_known_ends_surround_what_is_missing() -> None:
    clip = Clip(np.arange(30.0)[:, None])
    assert with_known_ends(clip, "2/3-5/1", None, "m").known.tolist() == [True] * 2 + [
        False
    ] * 5 + [True]
    for seed in range(20):
        found = with_known_ends(clip, "2-4/3-5/1", np.random.default_rng(seed), "m")
        assert len(found.known) == len(found.frames)
        assert 3 <= (~found.known).sum() <= 5
    with pytest.raises(RowError, match="is not past/missing/next"):
        with_known_ends(clip, "2/3", None, "m")
    with pytest.raises(RowError, match="30 frames, fewer than the 33"):
        with_known_ends(clip, "2/30/1", None, "m")
