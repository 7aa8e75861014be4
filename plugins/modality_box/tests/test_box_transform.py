"""Boxes that are cropped away, and what they take along."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_modality_box.transform import BoxTransform
from ofacore.parts import PlaneView
from ofacore.protocols import Published, RedrawError, RowContext, SlotPlan

BOXES = [[0, 0, 20, 20], [0, 0, 100, 10], [60, 60, 90, 90], "none", [41, 0, 51, 10]]


def slot(repeat=("b", "t"), **attributes):
    return SlotPlan(
        "b",
        "BOX",
        "target",
        0,
        "box",
        "token",
        {"image": "img", **attributes},
        loss=True,
        repeat=repeat,
    )


def context(split="train"):
    """The right half of an image of 100 x 100 pixels."""
    published = Published()
    published.put(
        "img", PlaneView((100, 100), np.array([[1, 0, -50], [0, 1, 0]], float), (50, 100))
    )
    return RowContext({}, "task", split, np.random.default_rng(0), published=published)


def run(row, where=None, split="train"):
    return BoxTransform({})(row, [where or slot()], context(split))


def test_a_cropped_box_takes_its_label_along():
    row = {"b": BOXES, "t": ["a", "b", "c", "d", "e"], "other": [1, 2, 3, 4, 5], "img": "x"}
    new = run(row)
    assert new["b"] == [[0, 0, 100, 10], [60, 60, 90, 90], "none"]
    assert new["t"] == ["b", "c", "d"]
    assert new["other"] == [1, 2, 3, 4, 5]
    assert row["t"] == ["a", "b", "c", "d", "e"]


def test_a_value_for_all_turns_stays():
    assert run({"b": BOXES, "t": "thing"})["t"] == "thing"


def test_every_turn_of_a_repeat_loses_its_own_boxes():
    turns = [[[0, 0, 20, 20]], [[0, 0, 20, 20], [60, 60, 90, 90]], [60, 60, 90, 90], []]
    new = run({"b": turns, "t": ["a", "b", "c", "d"]}, slot(many=True))
    assert new == {"b": [[[60, 60, 90, 90]], [60, 60, 90, 90], []], "t": ["b", "c", "d"]}
    texts = ["0,0,20,20;60,60,90,90", "0,0,20,20;1,1,9,9"]
    assert run({"b": texts, "t": ["a", "b"]}, slot(many=True)) == {"b": ["60,60,90,90"], "t": ["a"]}


def test_a_list_outside_a_repeat_gets_shorter_by_itself():
    new = run(
        {"b": np.array([[0, 0, 20, 20], [60, 60, 90, 90]]), "t": ["a", "b"]}, slot((), many=True)
    )
    assert [box.tolist() for box in new["b"]] == [[60, 60, 90, 90]]
    assert new["t"] == ["a", "b"]


@pytest.mark.parametrize(
    "value",
    [[60, 0, 90, 20], "none", None, 5, [[60, 60, 90, 90]], ["not", "boxes"], [[9, 9, 1, 1]]],
)
def test_everything_else_is_left_as_it_is(value):
    assert run({"b": value, "t": ["x"]}) == {"b": value, "t": ["x"]}


@pytest.mark.parametrize(
    "value", [[0, 0, 20, 20], "0,0,20,20", [[0, 0, 20, 20], [5, 5, 9, 9]], [45, 0, 52, 10]]
)
def test_a_crop_of_training_that_leaves_no_box_in_view_is_drawn_again(value):
    """Of the last box a seventh is seen, less than what must remain of one."""
    with pytest.raises(RedrawError, match="column 'b'.*no box in view"):
        BoxTransform({"min_visible": 0.3})({"b": value}, [slot()], context())


def test_several_boxes_in_one_text_lose_those_that_were_cropped_away():
    assert run({"b": "0,0,20,20; 60,60,90,90"}, slot((), many=True))["b"] == [" 60,60,90,90"]


def test_at_inference_nothing_is_dropped():
    assert run({"b": BOXES}, split="infer") == {"b": BOXES}


def test_the_share_that_must_remain_is_an_option():
    row = {"b": [[49, 0, 59, 10], [45, 0, 55, 10]], "t": ["a", "b"]}
    assert BoxTransform({"min_visible": 0.6})(row, [slot()], context())["t"] == ["a"]


def test_units_and_formats_are_understood():
    row = {"b": [[0.1, 0.1, 0.2, 0.2], [0.75, 0.75, 0.2, 0.2]], "t": ["a", "b"]}
    assert run(row, slot(format="cxcywh", relative=True))["t"] == ["b"]


def test_a_box_that_lies_outside_of_the_picture_is_left_to_be_refused():
    outside = [[150, 10, 190, 50], [60, 60, 90, 900], [60, 60, 90, 90]]
    assert run({"b": outside, "t": ["a", "b", "c"]})["b"] == outside
    clipped = run({"b": outside, "t": ["a", "b", "c"]}, slot(clip=True))
    assert (clipped["b"], clipped["t"]) == ([[60, 60, 90, 90]], ["c"])


def test_the_share_that_must_be_seen_is_that_of_the_models_options():
    ctx = context()
    ctx.options = {"box": {"min_visible": 0.05}}
    row = {"b": BOXES, "t": ["a", "b", "c", "d", "e"]}
    assert BoxTransform({})(row, [slot()], ctx)["b"] == [*BOXES[1:4], BOXES[4]]
