"""Where positions stand in learned tables: a row for each place, a row for each distance between two places."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ofacore.protocols import PositionGrid

DEFAULT_GRID = PositionGrid(42, 42)
"""For adapters of several axes that declare none."""


def line_buckets(span: int, buckets: int) -> Tensor:
    """Bucket of each distance from ``1 - span`` to ``span - 1``: int64 [2 * span - 1], from 0 to 2 * buckets - 2.

    Distances up to half of ``buckets`` are exact; longer ones share buckets that widen as their logarithm, so that the
    longest has the last one (OFA's rule, after T5, Raffel et al. 2019). Computed in fp32, as stored tables expect. One
    bucket is that of all distances.
    """
    distance = torch.arange(1 - span, span)
    exact = buckets // 2
    size = distance.abs()
    if span - 1 <= exact:
        return distance + buckets - 1
    if not exact:
        return torch.zeros_like(distance)
    ratio = torch.log(size.clamp(min=exact) / exact) / math.log((span - 1) / exact)
    logarithmic = torch.ceil(ratio * (exact - 1)).long() + exact
    return torch.where(size <= exact, distance, logarithmic * distance.sign()) + buckets - 1


class LinePlaces(nn.Module):
    """Places along one axis.

    Args:
        axis: Which coordinate counts.
        rows: Rows of the table of places.
        span: Distances are told apart up to this one.
        buckets: Half the number of distances; 0: no table of distances.
    """

    def __init__(self, axis: int, rows: int, span: int, buckets: int) -> None:
        super().__init__()
        self.axis, self.rows, self.span = axis, rows, span
        self.distances = max(0, 2 * buckets - 1)
        if buckets:
            self.register_buffer("bucket_of", line_buckets(span, buckets), persistent=False)

    def row(self, coordinates: Tensor) -> Tensor:
        """Coordinates [..., 3] -> rows [...]."""
        return coordinates[..., self.axis].clamp(0, self.rows - 1)

    def bucket(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Coordinates [R, L, 3] and [R, K, 3] -> rows [R, L, K] of a table of distances."""
        distance = queries[:, :, None, self.axis] - keys[:, None, :, self.axis]
        found: Tensor = self.bucket_of[(distance + self.span - 1).clamp(0, 2 * self.span - 2)]
        return found


class GridPlaces(nn.Module):
    """Cells of a grid behind the token that stands for all of them; distances by row and column, clipped."""

    def __init__(self, grid: PositionGrid) -> None:
        super().__init__()
        self.grid, self.first = grid, int(grid.class_token)
        self.rows = grid.rows * grid.columns + 1
        self.distances = (2 * grid.rows - 1) * (2 * grid.columns - 1) + 3 if grid.relative else 0

    def _cells(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        y, x = coordinates[..., 1] - self.first, coordinates[..., 2] - self.first
        return y.clamp(max=self.grid.rows - 1), x.clamp(max=self.grid.columns - 1)

    def row(self, coordinates: Tensor) -> Tensor:
        """Coordinates [..., 3] -> rows [...]."""
        y, x = self._cells(coordinates)
        return torch.where(y < 0, 0, 1 + y.clamp(min=0) * self.grid.columns + x.clamp(min=0))

    def bucket(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Coordinates [R, L, 3] and [R, K, 3] -> rows [R, L, K] of a table of distances.

        The last three rows are those of the class token: as query, as key, as both.
        """
        (query_y, query_x), (key_y, key_x) = self._cells(queries), self._cells(keys)
        rows, columns = self.grid.rows, self.grid.columns
        y = (query_y[:, :, None] - key_y[:, None]).clamp(1 - rows, rows - 1) + rows - 1
        x = (query_x[:, :, None] - key_x[:, None]).clamp(1 - columns, columns - 1) + columns - 1
        bucket = y * (2 * columns - 1) + x
        if not self.first:
            return bucket
        whole_query, whole_key = (query_y < 0)[:, :, None], (key_y < 0)[:, None]
        bucket = torch.where(whole_query, self.distances - 3, bucket)
        bucket = torch.where(whole_key, self.distances - 2, bucket)
        return torch.where(whole_query & whole_key, self.distances - 1, bucket)


Places = LinePlaces | GridPlaces
