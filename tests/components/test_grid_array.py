"""Grids are cut into patches without loss, and what is no grid is refused with the place of the fault."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofacore.components.grids.grid_array import checked_grid, from_patches, patch_counts, to_patches
from ofacore.protocols import RowError

AXES = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=1, max_size=4)
REFUSED = {
    "ragged": ([[1, 2], [3]], "ragged: [1] is a list of 1, [0] is a list of 2"),
    "ragged deep": (
        [[[1], [2]], [[3], [4, 5]]],
        "ragged: [1, 1] is a list of 2, [1, 0] is a list of 1",
    ),
    "list and number": ([[1, 2], 3], "ragged: [1] is no list, [0] is a list of 2"),
    "not a number": ([[1.0, float("nan")]], "nan at [0, 1] is no finite number"),
    "infinite": ([[float("-inf"), 1.0]], "-inf at [0, 0] is no finite number"),
    "too large": ([[1.0], [1e39]], "1e+39 at [1, 0] is larger than 32 bits can hold"),
    "huge integer": ([[10**400]], "at [0, 0] is larger than 32 bits can hold"),
    "None": ([[1, None]], "None at [0, 1] is no number"),
    "object": (np.array([[1, "a"]], dtype=object), "a"),
    "decimal": (np.array([[Decimal(1)]], dtype=object), "Decimal('1') at [0, 0] is no number"),
    "texts": ([["1", "2"]], "'1' at [0, 0] is no number"),
    "complex": ([[1j]], "1j at [0, 0] is no number"),
    "rank": ([1.0, 2.0], "it has 1 axis, not the 2 of a grid of any x any numbers"),
    "empty": ([[], []], "a grid of 2 x 0 numbers"),
    "masked": (np.ma.masked_equal([[1, 2]], 2), "masked"),
    "text": ("hot", "'hot' is no grid of numbers, nor JSON of one"),
    "mapping": ({"a": 1}, "is no grid of numbers"),
}


@settings(max_examples=60, deadline=None)
@given(axes=AXES)
def test_patches_put_together_are_the_grid(axes):
    shape, patch = zip(*axes, strict=True)
    grid = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1
    patches = to_patches(grid, patch)
    assert patches.shape == (np.prod(patch_counts(shape, patch)), np.prod(patch))
    assert np.array_equal(from_patches(patches, shape, patch), grid)
    assert patches.sum() == grid.sum()  # borders are padded with zeros


def test_patches_are_neighbours():
    patches = to_patches(np.arange(12).reshape(3, 4), (2, 2))
    assert patches.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 0, 0], [10, 11, 0, 0]]


@pytest.mark.parametrize("case", REFUSED)
def test_no_grid_is_refused_with_its_place(case):
    value, said = REFUSED[case]
    with pytest.raises(RowError) as caught:
        checked_grid(value, (None, None))
    assert said in str(caught.value)
    assert len(str(caught.value)) < 200


def test_another_shape_is_refused():
    with pytest.raises(
        RowError, match="a grid of 2 x 3 numbers, not of 2 x any x 3|2 axes, not the 3"
    ):
        checked_grid(np.zeros((2, 3)), (2, None, 3))
    with pytest.raises(RowError, match="a grid of 2 x 3 numbers, not of any x 4"):
        checked_grid(np.zeros((2, 3)), (None, 4))


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3, 4]],
        ((1, 2), (3, 4)),
        "[[1, 2], [3, 4]]",
        [np.array([1, 2]), np.array([3, 4])],
        np.array([np.array([1, 2]), None], dtype=object)[:1].tolist() + [[3, 4]],
        np.array([[1, 2], [3, 4]], np.uint8),
        np.array([[1, 2], [3, 4]], dtype=object),
        np.array([[1, 2], [3, 4]], np.float16),
    ],
)
def test_forms_of_one_grid(value):
    assert checked_grid(value, (2, 2)).tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_lists_of_arrays_as_tables_store_them():
    nested = np.empty(2, dtype=object)
    nested[0], nested[1] = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    assert checked_grid(nested, (2, 2)).tolist() == [[1.0, 2.0], [3.0, 4.0]]
    nested[1] = np.array([3.0])
    with pytest.raises(RowError, match="ragged"):
        checked_grid(nested, (2, 2))


def test_integers_beyond_64_bits_are_numbers():
    assert checked_grid([[10**30]], (1, 1)).tolist() == [[1e30]]
