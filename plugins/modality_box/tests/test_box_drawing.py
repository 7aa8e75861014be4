"""Boxes shown and saved."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ofa_modality_box.drawing import draw, picture
from ofa_modality_box.preprocessor import BoxPreprocessor
from ofa_modality_box.values import Frame
from ofacore.parts import PlaneView
from ofacore.protocols import Published, RowContext


def context(frame=None, image=True):
    picture = Image.new("RGB", (60, 40), "black") if image else None
    published = Published()
    published.put("img", PlaneView((60, 40), np.eye(3)[:2], (60, 40), picture))
    published.put("b", frame or Frame("img"))
    return RowContext({}, "task", "infer", np.random.default_rng(0), published=published)


def changed(image, base):
    ys, xs = np.nonzero((np.asarray(image) != np.asarray(base)).any(-1))
    return xs.min(), ys.min(), xs.max(), ys.max()


@pytest.mark.parametrize(
    ("value", "frame"),
    [
        ([10, 5, 30, 25], Frame("img")),
        ({"box": [10, 5, 20, 20]}, Frame("img", "xywh")),
        ([[10 / 60, 5 / 40, 30 / 60, 25 / 40]], Frame("img", "xyxy", True)),
    ],
)
def test_the_box_is_drawn_where_it_lies(value, frame):
    ctx = context(frame)
    assert changed(picture(value, ctx), ctx.published.one("img", PlaneView).original) == (
        10,
        5,
        30,
        25,
    )


def test_the_image_itself_stays_as_it_is():
    image = Image.new("L", (20, 20))
    drawn = draw(image, [(15, 15, 2, 2)], ["cat"])
    assert drawn.mode == "RGB"
    assert np.asarray(image).max() == 0
    assert np.asarray(drawn).max() > 0


@pytest.mark.parametrize("value", [None, "none", [], [1, 2, 30, 40], [[1e9, 2, 2e9, 40]]])
def test_anything_can_be_shown_and_saved(value, tmp_path):
    box = BoxPreprocessor({})
    for ctx in (None, context(), context(image=False)):
        shown = box.render(value, ctx)
        assert "data:image/png;base64," in shown
        box.save(value, ctx, tmp_path / "out.png")
        with Image.open(tmp_path / "out.png") as saved:
            assert saved.format == "PNG"


def test_scores_are_written_beside_the_box():
    plain, scored = (
        picture(value, context())
        for value in ([10, 5, 30, 25], {"box": [10, 5, 30, 25], "score": 0.5})
    )
    assert plain.tobytes() != scored.tobytes()


def test_without_a_picture_the_canvas_has_the_size_of_the_original():
    assert picture([1, 2, 3, 4], context(image=False)).size == (60, 40)
