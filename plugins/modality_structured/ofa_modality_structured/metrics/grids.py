"""Grids judged by their cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofa_modality_structured.metrics.collecting import MeanMetric
from ofa_modality_structured.reading import read_grid
from ofa_modality_structured.tables import Table
from ofa_modality_structured.values import held_structure

Grid = list[list[int]]


class _GridMetric(MeanMetric):
    """Grids come as lists of rows, or as text in the form of a grid or as JSON."""

    def several(self, reference: Any) -> Sequence[Any]:
        """A grid or a list of grids, as a list of grids.

        Raises:
            ValueError: It is neither.
        """
        found = [reference] if as_grid(reference) is not None else reference
        grids = [as_grid(one) for one in found] if isinstance(found, list | tuple) else []
        if not grids or any(grid is None for grid in grids):
            raise ValueError(
                f"{self.name}: the reference {reference!r:.60} is no grid; give rows of whole numbers"
            )
        return grids


class GridSolved(_GridMetric):
    """``grid_solved``: share of grids that equal a reference in every cell."""

    name = "grid_solved"

    def sample(self, prediction: Any, references: Sequence[Any], row: Mapping[str, Any]) -> float:
        """1 if the grid is a reference, else 0."""
        return float(as_grid(prediction) in references)


class GridCells(_GridMetric):
    """``grid_cells``: share of the blank cells of the row's puzzle that are right, the mean over grids.

    Option ``puzzle`` names the column that holds the puzzle; a blank is 0. A prediction of another size has no right
    cell.
    """

    name = "grid_cells"

    def sample(self, prediction: Any, references: Sequence[Any], row: Mapping[str, Any]) -> float:
        """Share of right cells among the blanks, 0 to 1; the best over the references.

        Raises:
            ValueError: The row has no puzzle, or one of another size or without blanks.
        """
        blanks = self._blanks(row, references)
        given = as_grid(prediction)
        if given is None or _size(given) != _size(references[0]):
            return 0.0
        return max(_share(given, right, blanks) for right in references)

    def _blanks(self, row: Mapping[str, Any], references: Sequence[Grid]) -> list[tuple[int, int]]:
        column = self.options["puzzle"]
        puzzle = as_grid(row.get(column))
        if puzzle is None:
            raise ValueError(
                f"{self.name}: column '{column}' holds no grid; name the puzzle's column by the option 'puzzle'"
            )
        if any(_size(puzzle) != _size(right) for right in references):
            raise ValueError(f"{self.name}: the puzzle in column '{column}' has another size")
        blanks = [
            (y, x) for y, line in enumerate(puzzle) for x, cell in enumerate(line) if not cell
        ]
        if not blanks:
            raise ValueError(f"{self.name}: the puzzle in column '{column}' has no blank cell (0)")
        return blanks


def as_grid(value: Any) -> Grid | None:
    """Rows of whole numbers, of a value or a text; None where it is no grid."""
    read = read_grid(value) if isinstance(value, str) else None
    if read is not None:
        return read
    structure = held_structure(value)
    if not isinstance(structure, Table) or not structure.is_grid:
        return None
    return [list(row) for row in structure.rows]


def _share(given: Grid, right: Grid, cells: Sequence[tuple[int, int]]) -> float:
    """Share of cells, as (row, column), that are right."""
    return sum(given[y][x] == right[y][x] for y, x in cells) / len(cells)


def _size(grid: Grid) -> tuple[int, int]:
    return len(grid), len(grid[0])
