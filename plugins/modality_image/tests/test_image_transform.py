"""The published geometry is what happened to the pixels, and depends on the row's generator alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ofa_modality_image import geometry
from ofa_modality_image.sample import picture
from ofa_modality_image.transform import POLICIES, ImageTransform
from ofacore.parts import PlaneView
from ofacore.protocols import RowContext, RowError, SlotPlan, Split

_DRAWS = (
    geometry.whole,
    geometry.jittered,
    geometry.random_resized,
    geometry.zoomed,
    geometry.centre_square,
)
sides = st.integers(1, 200)
seeds = st.integers(0, 2**32 - 1)


def _slot(preprocessor: str = "image", **attributes: object) -> SlotPlan:
    return SlotPlan("img", "IMAGE", "source", 0, preprocessor, "image_conv", attributes)


def _context(split: Split = "train", seed: int = 0) -> RowContext:
    return RowContext({}, "task", split, np.random.default_rng(seed))


@given(sides, sides, st.integers(1, 64), st.booleans(), seeds, st.sampled_from(_DRAWS))
def test_affine_takes_the_corners_of_the_crop_to_the_corners_of_the_view(
    width: int, height: int, side: int, flip: bool, seed: int, draw: geometry.Draw
) -> None:
    crop = draw((width, height), np.random.default_rng(seed))
    assert 0 <= crop[0] < crop[2] <= width
    assert 0 <= crop[1] < crop[3] <= height
    affine = geometry.View(crop, (side, side), flip).affine()
    corners = affine @ [[crop[0], crop[2]], [crop[1], crop[3]], [1, 1]]
    expected = [[side, 0] if flip else [0, side], [0, side]]
    assert np.allclose(corners, expected, atol=1e-6)
    points = np.random.default_rng(seed).uniform(0, 200, (5, 2))
    there = points @ affine[:, :2].T + affine[:, 2]
    back = (there - affine[:, 2]) @ np.linalg.inv(affine[:, :2]).T
    assert np.allclose(back, points, atol=1e-6)


@given(sides, sides, seeds)
def test_crops_rounded_to_pixels_stay_inside(width: int, height: int, seed: int) -> None:
    for draw in _DRAWS:
        left, top, right, bottom = geometry.on_pixels(
            draw((width, height), np.random.default_rng(seed))
        )
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


@given(seeds, st.sampled_from(["image", "imagenet", "imagepretrain"]), st.sampled_from([None, 64]))
def test_a_marked_square_is_found_where_the_affine_says(
    seed: int, preprocessor: str, size: int | None
) -> None:
    image = Image.new("RGB", (120, 80))
    image.paste((255, 255, 255), (48, 30, 68, 50))
    ctx = _context(seed=seed)
    view = ImageTransform({})(
        {"img": image}, [_slot(preprocessor, augment="flip", size=size)], ctx
    )["img"]
    published = ctx.published.one("img", PlaneView)
    assert view.size == published.view
    corners = published.affine @ [[48, 68], [30, 50], [1, 1]]
    (left, right), (top, bottom) = np.sort(corners[0]), np.sort(corners[1])
    box = np.array([left, top, right, bottom]).clip(0, [*view.size, *view.size])
    if (box[2:] - box[:2] < 6).any():
        return
    rows, columns = np.nonzero(np.asarray(view)[..., 0] > 127)
    assert np.allclose(
        box, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=1.5
    )


@pytest.mark.parametrize("preprocessor", sorted(POLICIES))
def test_without_augmentation_training_sees_what_evaluation_sees(preprocessor: str) -> None:
    views = []
    for ctx, attributes in ((_context("train"), {"augment": "none"}), (_context("test", 5), {})):
        views.append(
            ImageTransform({})(
                {"img": picture()}, [_slot(preprocessor, size=32, **attributes)], ctx
            )["img"]
        )
    assert views[0].tobytes() == views[1].tobytes()


def test_image_is_seen_whole_in_evaluation() -> None:
    ctx = _context("infer")
    ImageTransform({})({"img": picture()}, [_slot(size=24)], ctx)
    assert np.array_equal(ctx.published.one("img", PlaneView).affine, [[0.5, 0, 0], [0, 0.75, 0]])
    assert ctx.published.one("img", PlaneView).size == (48, 32)
    assert ctx.published.one("img", PlaneView).original.tobytes() == picture().tobytes()


def test_equal_generators_give_equal_views_and_others_do_not() -> None:
    def view(seed: int) -> bytes:
        return ImageTransform({})({"img": picture()}, [_slot(size=32)], _context(seed=seed))[
            "img"
        ].tobytes()

    assert view(3) == view(3)
    assert view(3) != view(4)


def test_default_augmentation_never_mirrors() -> None:
    for seed in range(30):
        ctx = _context(seed=seed)
        ImageTransform({})({"img": picture()}, [_slot(size=32)], ctx)
        assert ctx.published.one("img", PlaneView).affine[0, 0] > 0


def test_list_valued_columns_publish_one_geometry_each() -> None:
    ctx = _context("test")
    row = ImageTransform({})(
        {"img": [picture(), Image.new("L", (10, 20))], "text": "x"}, [_slot(size=8)], ctx
    )
    assert [image.size for image in row["img"]] == [(8, 8), (8, 8)]
    assert [view.size for view in ctx.published.all("img", PlaneView)] == [(48, 32), (10, 20)]
    assert row["text"] == "x"


def test_absent_pictures_stay_absent_and_bad_ones_are_named() -> None:
    ctx = _context()
    assert ImageTransform({})({"img": None}, [_slot()], ctx) == {"img": None}
    assert ImageTransform({})({}, [_slot()], ctx) == {}
    assert not ctx.published
    with pytest.raises(RowError, match="column 'img'"):
        ImageTransform({})({"img": 5}, [_slot()], ctx)
