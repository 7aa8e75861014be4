"""Rows of learned tables of positions and distances."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_positions_untied.places import GridPlaces, LinePlaces, line_buckets
from ofacore.protocols import PositionGrid


@pytest.mark.parametrize(("span", "buckets"), [(64, 16), (1024, 256), (10, 16)])
def test_buckets_of_a_line(span: int, buckets: int) -> None:
    """Exact up to half the buckets, then monotone, odd around zero, and the longest distance has the last one."""
    found = line_buckets(span, buckets) - (buckets - 1)
    distance = torch.arange(1 - span, span)
    near = distance.abs() <= buckets // 2
    assert torch.equal(found[near], distance[near])
    assert torch.equal(found, -found.flip(0)) and bool((found.diff() >= 0).all())
    assert found[-1] == (min(span - 1, buckets - 1) if span - 1 <= buckets // 2 else buckets - 1)


def test_far_distances_share_buckets_by_their_logarithm() -> None:
    exact, span = 8, 64
    found = line_buckets(span, 16) - 15
    for distance in (9, 20, 40, 63):
        expected = (
            math.ceil(math.log(distance / exact) / math.log((span - 1) / exact) * (exact - 1))
            + exact
        )
        assert found[distance + span - 1] == expected


def original_index(side: int) -> np.ndarray:
    """Distance rows of all pairs of cells, the class token first, written out pair by pair."""
    wide = 2 * side - 1
    last = wide * wide + 3
    index = np.zeros((side * side + 1, side * side + 1), np.int64)
    for q, k in np.ndindex(*index.shape):
        if q == 0 or k == 0:
            index[q, k] = last - 1 if q == k else last - 3 if q == 0 else last - 2
            continue
        (qy, qx), (ky, kx) = divmod(q - 1, side), divmod(k - 1, side)
        index[q, k] = (qy - ky + side - 1) * wide + qx - kx + side - 1
    return index


@pytest.mark.parametrize("token", [False, True])
def test_a_grid_counts_cells_and_distances(token: bool) -> None:
    side = 3
    places = GridPlaces(PositionGrid(side, side, token))
    y, x = np.divmod(np.arange(side * side), side)
    cells = np.stack([np.zeros_like(y), y + token, x + token], 1)
    coordinates = torch.from_numpy(
        np.concatenate([np.zeros((1, 3), np.int64), cells]) if token else cells
    )
    first = 0 if token else 1
    assert places.row(coordinates).tolist() == list(range(first, side * side + 1))
    found = places.bucket(coordinates[None], coordinates[None])[0]
    assert np.array_equal(found.numpy(), original_index(side)[first:, first:])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 200), st.integers(0, 200), st.integers(1, 6), st.integers(1, 6), st.booleans()
)
def test_no_place_is_outside_its_tables(
    y: int, x: int, rows: int, columns: int, token: bool
) -> None:
    grid, line = GridPlaces(PositionGrid(rows, columns, token)), LinePlaces(0, 12, 10, 4)
    where = torch.tensor([[[0, 0, 0], [y, y, x], [x, x, y]]])
    for places in (grid, line):
        rows = places.row(where)
        assert int(rows.min()) >= 0 and int(rows.max()) < places.rows
        bucket = places.bucket(where, where)
        assert int(bucket.min()) >= 0 and int(bucket.max()) < places.distances


def test_one_bucket_is_that_of_all_distances() -> None:
    assert line_buckets(4, 1).tolist() == [0] * 7
