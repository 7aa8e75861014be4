"""Encoding, decoding and messages of BOX."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ofa_modality_box.manifest import is_box
from ofa_modality_box.preprocessor import BoxPreprocessor
from ofa_modality_box.values import Frame
from ofacore.parts import PlaneView
from ofacore.plugin import PluginError
from ofacore.protocols import (
    BOS,
    EOS,
    Block,
    Hypothesis,
    Published,
    RowContext,
    RowError,
    SlotPlan,
    Vocabulary,
)


def bound(bins=1000):
    preprocessor = BoxPreprocessor({"bins": bins})
    artifact = preprocessor.fit([], np.random.default_rng(0))
    preprocessor.bind(
        Vocabulary().extend([Block("other", 50), *preprocessor.blocks(artifact)]), artifact
    )
    return preprocessor


def slot(side="target", **attributes):
    return SlotPlan(
        "b", "BOX", side, 0, "box", "token", {"image": "img", **attributes}, loss=side == "target"
    )


def context(size=(640, 480), affine=((1, 0, 0), (0, 1, 0)), view=None, split="train", turned=False):
    published = Published()
    published.put("img", PlaneView(size, np.array(affine, float), view or size, turned=turned))
    return RowContext({}, "task", split, np.random.default_rng(0), published=published)


BOX = bound()
FORMATS = st.sampled_from(["xyxy", "xywh", "cxcywh"])


@given(
    fmt=FORMATS,
    relative=st.booleans(),
    bins=st.sampled_from([32, 1000]),
    flip=st.booleans(),
    size=st.tuples(*[st.integers(20, 2000)] * 2),
    view=st.tuples(*[st.sampled_from([32, 224, 513])] * 2),
    ends=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_the_round_trip_is_exact_to_half_a_bin(fmt, relative, bins, flip, size, view, ends):
    xs, ys = sorted(ends[:2]), sorted(ends[2:])
    assume(xs[1] - xs[0] > 1e-6 and ys[1] - ys[0] > 1e-6)
    corners = (xs[0] * size[0], ys[0] * size[1], xs[1] * size[0], ys[1] * size[1])
    scale = view[0] / size[0]
    affine = ((-scale if flip else scale, 0, view[0] if flip else 0), (0, view[1] / size[1], 0))
    ctx, where = context(size, affine, view), slot(format=fmt, relative=relative)
    box, frame = bound(bins), Frame("img", fmt, relative)
    assume(relative or max(frame.numbers(corners, size)) > 1)
    (segment,) = box.encode(frame.numbers(corners, size), where, ctx)
    assert len(segment.ids) == 4
    assert not segment.open
    assert segment.blocks == (f"box/bins:{bins}",)
    decoded = frame.corners(tuple(box.decode(Hypothesis(segment.ids), where, ctx)), size)
    error = np.abs(np.subtract(decoded, corners)) / np.array([*size, *size])
    assert error.max() <= 0.5 / (bins - 1) + 1e-9


def test_bins_run_over_the_view_of_the_model():
    ctx = context((100, 50), ((2, 0, -20), (0, 4, 0)), (160, 200))
    ids = BOX.encode([10, 0, 90, 50], slot(), ctx)[0].ids - BOX._offset
    assert ids.tolist() == [0, 0, 999, 999]
    mirrored = context((100, 50), ((-1.6, 0, 160), (0, 4, 0)), (160, 200))
    ids = BOX.encode([0, 0, 25, 25], slot(), mirrored)[0].ids - BOX._offset
    assert ids.tolist() == [749, 0, 999, 500]


def test_a_box_that_is_partly_cropped_is_clipped():
    ctx = context((100, 100), ((1, 0, -50), (0, 1, 0)), (50, 100))
    ids = BOX.encode([0, 0, 75, 100], slot(), ctx)[0].ids
    assert BOX.decode(Hypothesis(ids), slot(), ctx) == pytest.approx([50, 0, 75, 100], abs=0.05)


@pytest.mark.parametrize(
    "value",
    [
        "10,20,110,220",
        "[10, 20, 110, 220]",
        (10, 20, 110, 220),
        {"box": [10, 20, 110, 220]},
        np.array([10, 20, 110, 220]),
    ],
)
def test_boxes_may_be_written_in_many_ways(value):
    expected = BOX.encode([10.0, 20.0, 110.0, 220.0], slot(), context())[0].ids.tolist()
    assert is_box(value)
    assert BOX.encode(value, slot(), context())[0].ids.tolist() == expected


def test_none_is_a_box_of_its_own():
    for value in ("none", None, {"box": None}):
        ids = BOX.encode(value, slot(), context())[0].ids
        assert set(ids - BOX._offset) == {1000}
        assert len(ids) == 4
        assert BOX.decode(Hypothesis(ids), slot(), context()) is None


def test_many_boxes_share_a_slot():
    where, boxes = slot(many=True), [[10, 20, 110, 220], [0, 0, 640, 480]]
    (segment,) = BOX.encode(boxes, where, context())
    assert segment.open
    assert len(segment.ids) == 8
    assert np.allclose(BOX.decode(Hypothesis(segment.ids), where, context()), boxes, atol=0.4)
    assert (
        BOX.encode("10,20,110,220; 0,0,640,480", where, context())[0].ids.tolist()
        == segment.ids.tolist()
    )
    assert BOX.encode(np.array(boxes), where, context())[0].ids.tolist() == segment.ids.tolist()
    for empty in ([], "none"):
        ids = BOX.encode(empty, where, context())[0].ids
        assert BOX.decode(Hypothesis(ids), where, context()) == []


def test_scores_are_the_mean_probability_of_the_tokens_of_each_box():
    where = slot(many=True, scores=True)
    ids = BOX.encode([[10, 20, 110, 220], [0, 0, 640, 480]], where, context())[0].ids
    found = BOX.decode(
        Hypothesis(ids, log_probs=np.log([0.5] * 4 + [1, 1, 0.25, 0.25])), where, context()
    )
    assert [box["score"] for box in found] == pytest.approx([0.5, 0.5])
    single = BOX.decode(Hypothesis(ids[:4], score=np.log(0.3)), slot(scores=True), context())
    assert single["score"] == pytest.approx(0.3)
    assert len(single["box"]) == 4


@given(ids=st.lists(st.integers(-5, 2000), max_size=12), many=st.booleans(), scores=st.booleans())
def test_decoding_takes_any_ids(ids, many, scores):
    BOX.decode(Hypothesis(np.array(ids, dtype=np.int64)), slot(many=many, scores=scores), context())


def test_core_tokens_between_are_passed_over():
    ids = BOX.encode([10, 20, 110, 220], slot(), context())[0].ids
    assert BOX.decode(Hypothesis(np.array([BOS, *ids, EOS])), slot(), context()) is not None


def test_relative_boxes_need_no_image():
    where = slot(image=None, relative=True)
    ids = BOX.encode([0, 0.25, 0.5, 1], where, context())[0].ids
    assert BOX.decode(Hypothesis(ids), where, context()) == pytest.approx(
        [0, 0.25, 0.5, 1], abs=0.0006
    )


@pytest.mark.parametrize(
    ("value", "attributes", "message"),
    [
        (
            [30, 20, 10, 40],
            {},
            r"column 'b': the box 30, 20, 10, 40 \(xyxy\) is inverted.*right edge 10.*left edge 30",
        ),
        ([10, 40, 30, 40], {}, r"bottom edge 40 is not below top edge 40"),
        (
            [700, 0, 800, 100],
            {},
            r"does not overlap what is seen of image 'img' of 640 x 480 pixels",
        ),
        (
            [1, 2, 3],
            {},
            r"expected a box of four numbers such as '10,20,110,220', or 'none', got \[1, 2, 3\]",
        ),
        ("1,2,x,4", {}, r"four numbers"),
        ([1, 2, float("nan"), 4], {}, r"not finite"),
        ([[1, 2, 3, 4], [1, 2, 3, 4]], {}, r"expected a box"),
        ("1;1;9;9", {}, r"expected a box of four numbers .* got '1;1;9;9'"),
        ("", {}, r"expected a box of four numbers .* got ''"),
        (5, {}, r"expected a box of four numbers .* got 5"),
        (
            [0.1, 0.1, 0.5, 0.5],
            {},
            r"is less than a pixel of image 'img' of 640 x 480 pixels; .* the flag 'relative'",
        ),
        (
            [10, 20, 110, 220],
            {"relative": True},
            r"lies far outside of the image: .* leave the flag out for pixels",
        ),
        (
            [-50, 0, 100, 100],
            {},
            r"reaches 50 out of image 'img' of 640 x 480 pixels; mend it, .* the flag 'clip'",
        ),
        ([600, 400, 700, 500], {}, r"reaches 60 out of"),
        ([400, 300, 400, 300], {"format": "xywh"}, r"reaches 160 out of .* name another 'format='"),
        ([0.5, 0.5, 1.5, 1], {"relative": True}, r"reaches 320 out of"),
        (
            [0.5, 0.5, 1.5, 1],
            {"relative": True, "image": None},
            r"reaches 0.5 out of the unit square",
        ),
        ([True, False, 30, 40], {}, r"a box has four numbers, got \[True, False"),
        ([1, 2, None, 4], {}, r"four numbers"),
        ([1, 2, 10**400, 4], {}, r"four numbers"),
        ([1, 2, float("-inf"), 4], {}, r"not finite"),
        (b"abcd", {}, r"expected a box"),
        (
            {"bbox": [1, 2, 3, 4], "id": 1},
            {},
            r"'bbox', 'id'\] is no box; .* format=xywh where they are those of COCO",
        ),
        (
            {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4},
            {},
            r"give \[xmin, ymin, xmax, ymax\], with format=xyxy",
        ),
        (
            {"x_center": 1, "y_center": 2, "width": 3, "height": 4},
            {},
            r"give its four numbers, and say by format=",
        ),
        ({}, {}, r"a dict with \[\] is no box"),
        ({"bbox": [1, 2, 3, 4]}, {"many": True}, r"a dict with \['bbox'\] is no box"),
        ([{"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}], {"many": True}, r"is no box; give \[xmin"),
        ([1, 2, 3, 4], {"image": None}, r"a box in pixels needs an image"),
        ([1, 2, 3, 4], {"image": "other"}, r"lie in image 'other', but the row has no such image"),
    ],
)
def test_what_cannot_be_used_is_named(value, attributes, message):
    with pytest.raises(RowError, match=message):
        BOX.encode(value, slot(**attributes), context())


def test_a_box_and_a_list_of_boxes_are_told_apart():
    assert all(
        map(
            is_box,
            [
                [1, 2, 3, 4],
                (0.1, 0.2, 0.3, 0.4),
                "none",
                "1,2,3,4",
                {"box": [1, 2, 3, 4]},
                np.zeros(4),
            ],
        )
    )
    lists = [
        [],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4]] * 4,
        ["none"] * 4,
        np.zeros((4, 4)),
        None,
        [1, 2, 3],
    ]
    assert not any(map(is_box, lists))


def test_one_bin_is_refused():
    with pytest.raises(PluginError, match="at least 2 bins"):
        BoxPreprocessor({"bins": 1})


def test_a_given_box_carries_no_loss():
    given_slot = SlotPlan(
        "b", "BOX", "target", 0, "box", "token", {"image": "img", "no_loss": True}, loss=False
    )
    assert BOX.encode([1, 2, 3, 4], given_slot, context())[0].weights.tolist() == [False] * 4


def test_a_copy_in_another_process_encodes_the_same():
    copy, ctx = pickle.loads(pickle.dumps(BOX)), context()
    box = [10, 20, 110, 220]
    assert (
        copy.encode(box, slot(), ctx)[0].ids.tolist()
        == BOX.encode(box, slot(), ctx)[0].ids.tolist()
    )
    assert pickle.loads(pickle.dumps(ctx)).published.one("b", Frame) == Frame("img")


def test_the_manifest_can_be_read_without_heavy_libraries():
    code = (
        "import sys, ofa_modality_box.manifest; print({'PIL', 'torch', 'numpy'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_a_target_to_be_generated_has_four_tokens_or_any_number():
    one, several = BOX.expect(slot(), context()), BOX.expect(slot(many=True), context())
    assert (one.open, one.length, several.open, several.length) == (False, 4, True, None)
    assert one.blocks == several.blocks == BOX.encode([1, 2, 3, 4], slot(), context())[0].blocks


def test_what_rounding_explains_is_cut_off_and_the_rest_where_it_is_asked_for():
    inside = BOX.encode([0, 0, 640, 480], slot(), context())[0].ids.tolist()
    assert BOX.encode([-2, 1e-9, 641.5, 481], slot(), context())[0].ids.tolist() == inside
    assert BOX.encode([-200, -9, 900, 700], slot(clip=True), context())[0].ids.tolist() == inside


def test_a_picture_that_exif_turns_is_told_of_where_its_boxes_do_not_fit():
    ctx = context(turned=True)
    for box in ([500, 500, 600, 600], [10, 400, 60, 600]):
        with pytest.raises(
            RowError, match="EXIF turns this picture: .* 'orientation=stored' in the IMAGE"
        ):
            BOX.encode(box, slot(), ctx)
