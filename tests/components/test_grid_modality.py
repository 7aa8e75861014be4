"""A manifest of one call: what it announces, what it refuses, and an open grid of three axes through the checks."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
import torch

from ofa_kit import ModalityConformance
from ofa_kit.bench import COLUMN, WRITE
from ofacore.components.grids.grid_values import AskedGrid
from ofacore.components.grids.modality import author_function
from ofacore.parts import GridAdapter, GridError, IsGrid, SquaredError, grid_modality
from ofacore.plugin import Attribute, PluginError
from ofacore.protocols import CriterionContext, RowError, SlotPlan

FACTOR = Attribute(
    "unit", "choice", "metre", "unit of the numbers", choices=("metre", "millimetre")
)


def to_metre(grid, attributes):
    return grid / (1000 if attributes["unit"] == "millimetre" else 1)


def from_metre(grid, attributes):
    return grid * (1000 if attributes["unit"] == "millimetre" else 1)


VOLUME = grid_modality(
    "volume",
    "VOLUME",
    shape=(None, 3, None),
    patch=(1, 2, 2),
    attributes=[FACTOR],
    to_base=to_metre,
    from_base=from_metre,
    most_positions=64,
)


class OpenVolume(ModalityConformance):
    plugin = VOLUME
    values = (
        np.arange(18, dtype=np.float32).reshape(2, 3, 3),
        np.ones((1, 3, 5), np.float32).cumsum(2),
        np.zeros((2, 3, 3), np.float32),
    )
    bad_values = (np.zeros((3, 3)), np.zeros((1, 2, 3)), np.zeros((40, 3, 40)), [[[1.0]]], "volume")


CHECKS = [
    "test_round_trip",
    "test_references_look_like_answers",
    "test_bad_values_are_refused_by_name",
    "test_restored_preprocessor_encodes_the_same",
    "test_batch_of_one_equals_row_of_a_batch",
    "test_length_and_coordinates_are_pure_and_right",
    "test_order_and_padding_do_not_matter",
    "test_batches_do_not_change_losses",
    "test_positions_can_be_learned",
    "test_attributes_are_understood",
    "test_attributes_are_declared_well",
    "test_values_are_recognised",
    "test_values_can_be_shown",
]


@pytest.fixture(scope="module")
def bench():
    return OpenVolume().bench()


@pytest.fixture
def slot(bench):
    return bench.slots[WRITE]


@pytest.mark.parametrize("check", CHECKS)
def test_a_grid_of_open_axes_keeps_the_contract(check, bench):
    getattr(OpenVolume(), check)(bench)


def test_an_open_grid_trains_and_answers(bench, tmp_path):
    OpenVolume().test_trains_and_answers(bench, tmp_path)


def with_attributes(slot, **attributes):
    return SlotPlan(**{**vars(slot), "attributes": {**slot.attributes, **attributes}})


def test_the_unit_shifts_what_is_learned_and_what_is_answered(bench, slot):
    metres, millimetres = OpenVolume.values[0], OpenVolume.values[0] * 1000
    small = with_attributes(slot, unit="millimetre")
    ctx = bench.context(bench.rows[0], WRITE)
    (first,) = bench.preprocessor.encode(metres, slot, ctx)
    (second,) = bench.preprocessor.encode(millimetres, small, ctx)
    assert np.allclose(first.labels["values"], second.labels["values"])
    assert np.allclose(bench.preprocessor.as_decoded(millimetres, small, ctx), millimetres)
    assert np.allclose(bench.preprocessor.as_compared(millimetres, small, ctx), metres)


def test_statistics_are_of_the_base_unit(bench, slot):
    values = [
        (slot, OpenVolume.values[0]),
        (with_attributes(slot, unit="millimetre"), OpenVolume.values[0] * 1000),
    ]
    artifact = bench.preprocessor.fit_slots(values, np.random.default_rng(0))
    found = artifact.json("grid.json")
    assert np.isclose(found["mean"], OpenVolume.values[0].mean())
    assert np.isclose(found["scale"], OpenVolume.values[0].std())


@pytest.mark.parametrize(
    ("size", "row", "shape"),
    [
        ("3x3x4", {}, (3, 3, 4)),
        (None, {COLUMN: OpenVolume.values[1]}, (1, 3, 5)),
        (None, {}, (2, 3, 3)),
    ],
)
def test_how_large_an_answer_becomes(size, row, shape, bench, slot):
    ctx = bench.context(bench.rows[0], WRITE)
    ctx.row = row
    bench.preprocessor.expect(with_attributes(slot, size=size), ctx)
    assert ctx.published.one(COLUMN, AskedGrid).grid == shape


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ("3x4x4", "fits no grid of any x 3 x any"),
        ("3x3", "write it as 4x3x4"),
        ("0x3x4", "fits no grid"),
        ("99x3x99", "more than 64"),
    ],
)
def test_an_impossible_size_is_refused(size, said, bench, slot):
    with pytest.raises(RowError, match=said) as caught:
        bench.preprocessor.expect(
            with_attributes(slot, size=size), bench.context(bench.rows[0], WRITE)
        )
    assert "column 'value'" in str(caught.value)


def test_numbers_over_the_border_carry_no_loss(bench):
    (item,) = bench.example(WRITE, {**bench.rows[0], COLUMN: OpenVolume.values[0]}).terms
    assert item.labels["mask"].sum() == OpenVolume.values[0].size
    assert item.labels["mask"].any(1).all()


@pytest.mark.parametrize(
    ("shape", "first", "last"),
    [
        ((3,), [0, 0, 0], [0, 0, 2]),
        ((2, 3), [0, 0, 0], [0, 1, 2]),
        ((2, 2, 3), [0, 0, 0], [1, 1, 2]),
        ((4, 2, 2, 3), [0, 0, 0], [7, 1, 2]),
    ],
)
def test_the_last_axes_are_t_y_x(shape, first, last):
    places = GridAdapter.coordinates(shape, {})
    assert [places[0].tolist(), places[-1].tolist()] == [first, last]
    assert (
        len({tuple(place) for place in places.tolist()})
        == len(places)
        == GridAdapter.length(shape, {})
    )


def test_one_value_is_told_from_a_list():
    one = pickle.loads(pickle.dumps(IsGrid(2)))
    grid = [[1, 2], [3, 4]]
    assert all(one(value) for value in (grid, np.array(grid), "[[1]]", [np.zeros(2), np.zeros(2)]))
    deep = [[[[[[[1]]]]]]]
    assert not any(
        one(value) for value in ([grid], np.zeros((1, 2, 2)), [np.array(grid)], None, [], deep)
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"shape": ()}, "one or more"),
        ({"shape": (3, 4), "patch": (2,)}, "as many axes"),
        ({"shape": (3, 0)}, "numbers from 1"),
        ({"shape": 3}, "tuples such as"),
        ({"shape": (3, True)}, "numbers from 1"),
        ({"shape": (3,), "to_base": to_metre}, "give both, or neither"),
        (
            {"shape": (3,), "read": lambda value: value},
            "read must be a function at the top of its module",
        ),
        ({"shape": (3,), "score": partial(to_metre)}, "score must be a function"),
    ],
)
def test_arguments_that_cannot_be_used(given, said):
    with pytest.raises(PluginError, match=said):
        grid_modality("bad", "BAD", **given)


def test_a_function_that_is_gone_is_named():
    with pytest.raises(PluginError, match=f"'{__name__}:gone' that a grid's option read names"):
        author_function("read", f"{__name__}:gone")


def test_an_answer_of_another_shape_is_told():
    metric = GridError({"name": "volume_error", "score": ""})
    metric.update([np.zeros((2, 2))], [np.ones((2, 2))], [{}])
    assert metric.compute() == {"volume_error": 1.0}
    with pytest.raises(ValueError, match="a grid of 2 x 3 numbers, its reference of 2 x 2"):
        metric.update([np.zeros((2, 3))], [np.ones((2, 2))], [{}])


def test_a_picture_is_small_whatever_the_grid(bench):
    shown = bench.preprocessor.render(np.random.default_rng(0).random((50, 3, 2000)))
    assert "50 x 3 x 2000" in shown
    assert len(shown) < 60_000
    assert "<code>" in bench.preprocessor.render("<b>no grid</b>")
    assert "<b>" not in bench.preprocessor.render("<b>no grid</b>")


def test_the_nearest_of_several_references_counts():
    metric = GridError({"name": "volume_error", "score": ""})
    near, far = np.full((2, 2), 1.0), np.full((2, 2), 5.0)
    metric.update([np.zeros((2, 2))], [[far, near]], [{}])
    assert metric.compute() == {"volume_error": 1.0}


def test_grids_of_a_repeat_are_compared_in_their_order():
    near, far = np.full((2, 2), 1.0), np.full((2, 2), 5.0)
    metric = GridError({"name": "volume_error", "score": ""})
    metric.update([[near, near], [near]], [[near, far], [near, far]], [{}, {}])
    assert list(metric.items()) == [2.0, np.inf]


def test_of_several_references_the_first_says_how_large_an_answer_becomes(bench, slot):
    ctx = bench.context(bench.rows[0], WRITE)
    ctx.row = {COLUMN: [OpenVolume.values[1], OpenVolume.values[0]]}
    bench.preprocessor.expect(slot, ctx)
    assert ctx.published.one(COLUMN, AskedGrid).grid == OpenVolume.values[1].shape


def test_the_masked_error_is_the_mean_over_what_is_there():
    prediction, values = torch.tensor([[1.0, 9.0], [2.0, 4.0]]), torch.zeros(2, 2)
    error, ctx = SquaredError({}), CriterionContext((1, 1), {})
    mask = torch.tensor([[True, False], [True, True]])
    assert error(prediction, {"values": values, "mask": mask}, ctx).values.tolist() == [1.0, 10.0]
    whole = error(prediction, {"values": values, "mask": torch.ones(2, 2, dtype=torch.bool)}, ctx)
    assert torch.equal(whole.values, error(prediction, {"values": values}, ctx).values)
