"""What the model gets of a clip: which frames, cut how, standing where."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from video_clips import numbered, write

from ofa_modality_video.sampling import Sampling, moments, span
from ofacore import Generalist, Task
from ofacore.batching.permutation import item_rng
from ofacore.protocols import RowError

SIZES = {"hidden": 16, "ffn": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
CLIP = np.random.default_rng(0).integers(0, 256, (1, 40, 40, 3), dtype=np.uint8).repeat(6, 0)
"""Six equal frames."""


def encoded(line, row, split="train", item=0, **options):
    task = Task("t", f"{line} -> [TEXT:says]", train=[{"says": "yes", "v": CLIP[:1]} | row])
    model = Generalist.create([task], **SIZES, **options)
    encoder = model.assembly.encoders["t"]
    rng = item_rng(0, "t", 0, item)
    return encoder.encode({"says": "yes"} | row, split=split, rng=rng, row_id="t[0]")


def seen(line, row, split="train", item=0, **options):
    """Frames uint8 [frames, size, size, 3], and the piece."""
    found = encoded(line, row, split, item, **options).source[0]
    (piece,) = [piece for piece in found if piece.slot.name == "v"]
    return piece.features["pixels"].reshape(*piece.shape[:3], 3), piece


@pytest.mark.parametrize("augment", ["none", "default", "flip", "rand"])
@pytest.mark.parametrize("framing", ["image", "imagenet", "imagepretrain"])
def test_all_frames_of_a_clip_change_alike(augment, framing):
    line = f"[VIDEO:v,size=16,frames=6,augment={augment},framing={framing}] ?"
    frames, _ = seen(line, {"v": CLIP})
    assert len(frames) == 6
    assert (frames == frames[0]).all()


def test_training_draws_crops_and_colours_for_every_clip():
    line = "[VIDEO:v,size=16,frames=6,framing=imagenet] ?"
    drawn = [seen(line, {"v": CLIP}, item=item)[0][0] for item in range(3)]
    again = seen(line, {"v": CLIP}, item=1)[0][0]
    assert (drawn[1] == again).all()
    assert not (drawn[0] == drawn[1]).all() and not (drawn[1] == drawn[2]).all()
    calm = [seen(line, {"v": CLIP}, "test", item)[0] for item in range(2)]
    assert (calm[0] == calm[1]).all()


@pytest.mark.parametrize("split", ["train", "test"])
def test_slots_of_one_column_see_the_parts_that_each_asks_for(split):
    row = {"v": {"frames": numbered(20), "fps": 10}}
    line = "[VIDEO:v,size=8,end=1] [VIDEO:v,size=8,start=1,frames=3] [VIDEO:v,size=8,end=1]"
    found = encoded(line, row, split).source[0]
    pieces = [piece for piece in found if piece.slot.name == "v"]
    early, late, again = [
        piece.features["pixels"].reshape(len(piece.features["statistics"]), -1).mean(1)
        for piece in pieces
    ]
    assert early.max() < 20 + 10 * 10 <= late.min() and len(late) == 3
    assert (again == early).all()


def test_a_frame_looks_as_the_same_picture_does_as_an_image():
    frames, _ = seen("[VIDEO:v,size=24,mean_std=imagenet] ?", {"v": CLIP}, "test")
    found = encoded("[IMAGE:v,size=24,mean_std=imagenet] ?", {"v": CLIP[0]}, "test").source[0]
    (image,) = [piece for piece in found if piece.slot.name == "v"]
    assert (frames[0].reshape(-1) == image.features["pixels"]).all()


def test_attributes_say_which_frames_are_taken(tmp_path):
    path = str(write(tmp_path / "a.mp4", numbered(40)))
    cases = {
        "frames=4": [5, 15, 25, 35],
        "frames=3,fps=2": [15, 20, 25],
        "frames=9,fps=2": [2, 7, 12, 17, 22, 27, 32, 37],
        "frames=2,start=1,end=2": [12, 17],
        "frames=2,start=from": [25, 35],
    }
    for written, wanted in cases.items():
        frames, _ = seen(f"[VIDEO:v,{written}] ?", {"v": path, "from": 2.0}, "test")
        found = [(float(frame.mean()) - 20) / 5 for frame in frames]
        assert found == pytest.approx(wanted, abs=0.3), written
    frames, _ = seen("[VIDEO:v,frames=1] ?", {"v": {"path": path, "start": 3, "end": 3.2}}, "test")
    assert (float(frames.mean()) - 20) / 5 == pytest.approx(31, abs=0.3)


def test_moments_of_training_stay_within_their_part():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        even = moments(Sampling(4), 1.0, 3.0, rng)
        assert ((even - 1.0) // 0.5).tolist() == [0, 1, 2, 3]
        steady = moments(Sampling(4, fps=5.0), 0.0, 3.0, rng)
        assert np.diff(steady) == pytest.approx(0.2) and steady[0] >= 0 and steady[-1] < 3.0
        short = moments(Sampling(9, fps=5.0), 0.0, 1.0, rng)
        assert len(short) == 5 and short[-1] < 1.0
    assert len(moments(Sampling(4, fps=1.0), 0.0, 0.3, None)) == 1


@pytest.mark.parametrize(
    "sampling, reason",
    [
        (Sampling(2, start=5.0), "start=5 lies outside"),
        (Sampling(2, start=-1.0), "start=-1 lies outside"),
        (Sampling(2, start=2.0, end=2.0), "end=2 is not behind start=2"),
    ],
)
def test_parts_that_a_clip_lacks_are_refused(sampling, reason):
    with pytest.raises(RowError, match=reason):
        span(sampling, 4.0, "v")


def test_a_start_that_is_no_number_is_refused():
    with pytest.raises(RowError, match="start='when' is neither a number of seconds nor"):
        seen("[VIDEO:v,start=when] ?", {"v": CLIP, "when": "soon"})


def test_positions_are_steps_rows_and_columns():
    _, piece = seen("[VIDEO:v,size=16,frames=3] ?", {"v": CLIP}, "test")
    places = np.stack(np.unravel_index(np.arange(12), (3, 2, 2)), axis=1)
    assert (piece.coordinates - piece.coordinates[0] == places).all()


@pytest.mark.parametrize("adapter", ["video_image_sequence", "video_tubelet"])
@pytest.mark.parametrize("pool, steps", [(2, 2), (1, 1)])
def test_pooling_bounds_the_positions(adapter, pool, steps):
    line = f"[VIDEO:v,size=16,frames=6,pool={pool},adapter={adapter}] ?"
    _, piece = seen(line, {"v": CLIP}, "test")
    assert piece.length == steps * 4


def test_several_clips_stand_in_one_row():
    row = {"v": CLIP, "w": CLIP[:2]}
    found = encoded("[VIDEO:v,size=16] before [VIDEO:w,size=16] ?", row, "test").source[0]
    shapes = [piece.shape for piece in found if piece.slot.type == "VIDEO"]
    assert shapes == [(6, 16, 16), (2, 16, 16)]


def test_bad_clips_are_counted_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.mp4").write_text("no video")
    good = [{"v": CLIP, "says": "yes"}, {"v": CLIP[:1], "says": "no"}]
    bad = [{"v": "text.mp4", "says": "no"}, {"v": CLIP[:0], "says": "no"}]
    task = Task("t", "[VIDEO:v,size=16] ? -> [TEXT:says,closed_set]", train=good + bad)
    folder = Generalist.create([task], **SIZES).fit(steps=3, samples=4)
    faults = [json.loads(line) for line in (folder / "faults.jsonl").read_text().splitlines()]
    assert {fault["row_id"] for fault in faults} == {"rows[2]", "rows[3]"}
    assert all("column 'v'" in fault["reason"] for fault in faults)
