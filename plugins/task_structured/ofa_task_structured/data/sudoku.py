"""Sudoku of 4 by 4 with a few blanks, made here, rows ``puzzle, solution``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ofa_starter import Row, Split, Splits, empty_splits, prepared, split_of

Grid = list[list[int]]
"""Rows of numbers; 0 is a blank."""

BOX = 2
SIDE = BOX * BOX
BLANKS = (5, 8)
"""Fewest and most blanks of a puzzle."""
PUZZLES: dict[Split, int] = {"train": 60, "valid": 10, "test": 10}
"""Puzzles of each solution."""


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``puzzle`` and ``solution`` (4 by 4), split by the solution; ``seed`` has no effect.

    Every puzzle has one solution, so no puzzle is in two splits either.
    """
    return prepared("sudoku", _rows, cache=cache)


def baseline(splits: Splits) -> list[Row]:
    """Each blank filled with the first number that its row lacks."""
    return [{"solution": _row_by_row(row["puzzle"])} for row in splits["test"]]


def solutions(puzzle: Grid) -> Iterator[Grid]:
    """All grids without blanks that a puzzle allows, in order of their numbers."""
    place = next(((y, x) for y in range(SIDE) for x in range(SIDE) if puzzle[y][x] == 0), None)
    if place is None:
        yield puzzle
        return
    y, x = place
    for number in _allowed(puzzle, y, x):
        filled = [list(row) for row in puzzle]
        filled[y][x] = number
        yield from solutions(filled)


def _rows() -> Splits:
    splits = empty_splits()
    empty = [[0] * SIDE for _ in range(SIDE)]
    for number, solution in enumerate(solutions(empty)):
        split = split_of(f"sudoku/{solution}")
        puzzles = _puzzles(solution, PUZZLES[split], np.random.default_rng(number))
        splits[split] += [{"puzzle": puzzle, "solution": solution} for puzzle in puzzles]
    return splits


def _puzzles(solution: Grid, count: int, rng: np.random.Generator) -> list[Grid]:
    """Different puzzles that this grid alone solves."""
    found: list[Grid] = []
    while len(found) < count:
        puzzle = _with_blanks(solution, rng)
        if puzzle not in found and len(list(solutions(puzzle))) == 1:
            found.append(puzzle)
    return found


def _with_blanks(solution: Grid, rng: np.random.Generator) -> Grid:
    cells = np.array(solution)
    blanks = rng.integers(BLANKS[0], BLANKS[1], endpoint=True)
    cells.flat[rng.choice(cells.size, blanks, replace=False)] = 0
    found: Grid = cells.tolist()
    return found


def _allowed(grid: Grid, y: int, x: int) -> list[int]:
    """Numbers that are neither in the row, nor in the column, nor in the box of a cell."""
    top, left = y - y % BOX, x - x % BOX
    seen = set(grid[y]) | {row[x] for row in grid}
    for row in grid[top : top + BOX]:
        seen |= set(row[left : left + BOX])
    return [number for number in range(1, SIDE + 1) if number not in seen]


def _row_by_row(puzzle: Grid) -> Grid:
    return [_filled(row) for row in puzzle]


def _filled(row: list[int]) -> list[int]:
    lacking = iter(number for number in range(1, len(row) + 1) if number not in row)
    return [cell or next(lacking) for cell in row]
