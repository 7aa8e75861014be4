"""Numbers of a table as numbers: each is one position, told by how far it lies from the usual of its column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ofa_modality_structured.cells import Cell, cell_text
from ofa_modality_structured.number_bins import (
    MARK,
    as_float,
    columns_of,
    is_number,
    marked,
    numbers_of,
)
from ofa_modality_structured.tables import Table

ADAPTER = "structure_cells"
"""The adapter that embeds such numbers."""
WIDTH = 3
"""Numbers of a position: 1 where a number stands, its distance in deviations, its magnitude."""
_FARTHEST = 100.0
_USUAL = (0.0, 1.0)
Scale = tuple[float, float]
"""Mean and deviation."""


@dataclass(frozen=True)
class ColumnScales:
    """Columns with the mean and deviation of the numbers seen in training."""

    scales: Mapping[str, Sequence[float]]
    """Column -> mean and deviation; a column that training did not show has 0 and 1."""

    @classmethod
    def fitted(cls, tables: Iterable[Table]) -> ColumnScales:
        """From the numbers of tables."""
        seen: dict[str, list[float]] = {}
        for table in tables:
            for name, number in numbers_of(table):
                seen.setdefault(name, []).append(number)
        return cls({name: _scale(found) for name, found in seen.items()})

    def marked(self, table: Table) -> tuple[Table, list[tuple[float, float]]]:
        """The table with marks in place of its numbers, and (distance in deviations, magnitude) of each."""
        names = columns_of(table)
        found: list[tuple[float, float]] = []
        rows = []
        for row in table.rows:
            pairs = zip(row, names, strict=True)
            rows.append(tuple([self._marked_cell(cell, name, found) for cell, name in pairs]))
        return replace(table, rows=tuple(rows)), found

    def _marked_cell(self, cell: Cell, name: str, found: list[tuple[float, float]]) -> Cell:
        if not is_number(cell):
            return cell_text(cell).replace(MARK, "")
        number = as_float(cell)
        mean, deviation = self.scales.get(name, _USUAL)
        distance = (number - mean) / deviation
        if not -_FARTHEST <= distance <= _FARTHEST:
            distance = min(max(distance, -_FARTHEST), _FARTHEST)
        found.append((distance, math.copysign(math.log1p(abs(number)), number)))
        return marked(len(found) - 1)


def _scale(numbers: Sequence[float]) -> Scale:
    """Of numbers that may be all the same, or too large to be squared."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(np.mean(numbers)), float(np.std(numbers))
    if not math.isfinite(mean) or not math.isfinite(deviation):
        return 0.0, float(np.max(np.abs(numbers)))
    return mean, deviation or 1.0
