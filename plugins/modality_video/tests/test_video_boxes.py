"""Boxes in the last frame of a clip, and clips in reports."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image
from video_clips import numbered, write

from ofa_modality_video.preview import moving_picture
from ofa_modality_video.sample import clip
from ofacore import Generalist, Task
from ofacore.batching.permutation import item_rng
from ofacore.parts import PlaneView

SIZES = {"hidden": 16, "ffn": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
STILL = clip()[-1:].repeat(6, 0)
"""The white square stands at [36, 12, 44, 20]."""
LINE = "[VIDEO:v,size=16,frames=4,augment=flip] where is it at the end? -> [BOX:b]"


def animation(html):
    content = html.partition("base64,")[2].partition('"')[0]
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_a_crop_moves_the_box_along():
    """What the published view says of the white square is where the square is in the last frame that is seen."""
    row = {"v": STILL, "b": [36, 12, 44, 20]}
    model = Generalist.create([Task("t", LINE, train=[row])], **SIZES)
    for item in range(6):
        rng = item_rng(0, "t", 0, item)
        encoder = model.assembly.encoders["t"]
        example = encoder.encode(row, split="train", rng=rng, row_id="0", keep_context=True)
        view = example.context.published.one("v", PlaneView)
        assert view.size == (48, 32) and view.view == (16, 16)
        piece = example.source[0][0]
        last = piece.features["pixels"].reshape(*piece.shape[:3], 3)[-1, :, :, 0]
        y, x = np.nonzero(last > 150)
        middle = view.affine @ np.array([40.0, 16.0, 1.0])
        assert middle == pytest.approx([x.mean() + 0.5, y.mean() + 0.5], abs=0.8)


def test_a_box_comes_back_in_pixels_of_the_video(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"v": clip(), "b": [36, 12, 44, 20]}] * 4
    model = Generalist.create([Task("t", LINE, train=rows)], **SIZES)
    model.fit(steps=2, samples=2)
    box = model.infer("t", {"v": clip()}).boxes
    assert len(box) == 4 and 0 <= box[0] <= box[2] <= 48 and 0 <= box[1] <= box[3] <= 32


def test_reports_show_a_clip_that_moves(tmp_path):
    path = write(tmp_path / "a.mp4", numbered(40, 120, 160))
    for value in (path, path.read_bytes(), numbered(40, 120, 160), {"frames": list(numbered(20))}):
        shown = animation(moving_picture(value))
        assert shown.format == "GIF" and shown.n_frames == 16 and max(shown.size) <= 160
    assert animation(moving_picture(clip()[:1])).n_frames == 1


def test_the_box_of_a_report_is_drawn_on_the_last_frame_that_is_seen():
    row = {"v": clip(), "b": [36, 12, 44, 20]}
    model = Generalist.create([Task("t", LINE, train=[row])], **SIZES)
    encoder = model.assembly.encoders["t"]
    example = encoder.encode(row, split="test", rng=item_rng(0, "t", 0, 0), row_id="0")
    view = example.context.published.one("v", PlaneView)
    last = np.asarray(view.original)
    assert last.shape == (32, 48, 3)
    wanted = clip()[8]
    assert (last == wanted).all()


def test_boxes_of_a_large_video_are_in_its_own_pixels(tmp_path):
    large = STILL.repeat(12, axis=1).repeat(12, axis=2)
    path = str(write(tmp_path / "large.mp4", large))
    row = {"v": path, "b": [432, 144, 528, 240]}
    model = Generalist.create([Task("t", LINE, train=[row])], **SIZES)
    encoder = model.assembly.encoders["t"]
    for split in ("train", "test"):
        rng = item_rng(0, "t", 0, 0)
        example = encoder.encode(row, split=split, rng=rng, row_id="0", keep_context=True)
        view = example.context.published.one("v", PlaneView)
        assert view.size == (576, 384)
        assert (view.original is None) == (split == "train")
        last = example.source[0][0].features["pixels"].reshape(-1, 16, 16, 3)[-1, :, :, 0]
        y, x = np.nonzero(last > 150)
        middle = view.affine @ np.array([480.0, 192.0, 1.0])
        assert middle == pytest.approx([x.mean() + 0.5, y.mean() + 0.5], abs=0.8)
    assert view.original.size == (576, 384)
