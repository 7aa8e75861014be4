"""Dynamic time warping (Sakoe & Chiba 1978) of two series."""

from __future__ import annotations

import numpy as np


def warped(distances: np.ndarray) -> tuple[float, int]:
    """Sum of distances along the cheapest path from the first to the last pair, and the pairs on it.

    Args:
        distances: float [n, m]; a path goes on by one in either series or in both.
    """
    costs = accumulated(distances)
    row, column = distances.shape[0] - 1, distances.shape[1] - 1
    pairs = 1
    while row or column:
        row, column = _before(costs, row, column)
        pairs += 1
    return float(costs[-1, -1]), pairs


def accumulated(distances: np.ndarray) -> np.ndarray:
    """float64 [n, m]: the cost of the cheapest path to each pair, computed by anti-diagonals."""
    rows, columns = distances.shape
    costs = np.full((rows + 1, columns + 1), np.inf)
    costs[0, 0] = 0.0
    for diagonal in range(rows + columns - 1):
        first = max(0, diagonal - columns + 1)
        row = np.arange(first, min(diagonal, rows - 1) + 1)
        column = diagonal - row
        cheapest = np.minimum(costs[row, column], costs[row, column + 1])
        cheapest = np.minimum(cheapest, costs[row + 1, column])
        costs[row + 1, column + 1] = cheapest + distances[row, column]
    return costs[1:, 1:]


def _before(costs: np.ndarray, row: int, column: int) -> tuple[int, int]:
    """The pair that the cheapest path came from."""
    ways = [(row - 1, column - 1), (row - 1, column), (row, column - 1)]
    possible = [(costs[way], way) for way in ways if min(way) >= 0]
    return min(possible, key=lambda one: float(one[0]))[1]
