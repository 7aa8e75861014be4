"""Numbers of a table by their digits, or by the bin of their column that they fall into."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ofa_modality_structured.cells import Cell, cell_text
from ofa_modality_structured.tables import Row, Table

_MARK = "\0"
_MARKED = re.compile(f"{_MARK}(\\d+){_MARK}")
_LARGEST = 1e300
"""Whole numbers may be beyond what a float holds."""
Edges = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class ColumnBins:
    """Columns cut into bins that hold equally many of the numbers seen in training."""

    edges: Edges
    """Column -> where its bins end, ascending; a column that training did not show has one bin."""

    @classmethod
    def fitted(cls, tables: Iterable[Table], most: int) -> ColumnBins:
        """From the numbers of tables, at most so many bins a column."""
        seen: dict[str, list[float]] = {}
        for table in tables:
            for name, number in _numbers(table):
                seen.setdefault(name, []).append(number)
        shares = np.linspace(0, 1, most + 1)[1:-1]
        edges = {name: np.unique(np.quantile(found, shares)) for name, found in seen.items()}
        return cls({name: found.tolist() for name, found in edges.items()})

    def marked(self, table: Table) -> Table:
        """The table with the bins of its numbers in their place, as marks that `parts` finds."""
        names = _columns(table)
        rows = [self._marked_row(row, names) for row in table.rows]
        return replace(table, rows=tuple(rows))

    def _marked_row(self, row: Row, names: Sequence[str]) -> Row:
        return tuple(self._marked_cell(cell, name) for cell, name in zip(row, names, strict=True))

    def _marked_cell(self, cell: Cell, name: str) -> Cell:
        if not _is_number(cell):
            return cell_text(cell).replace(_MARK, "")
        number = bisect_right(self.edges.get(name, ()), cell)  # type: ignore[type-var]
        return f"{_MARK}{number}{_MARK}"


def with_digits(table: Table) -> Table:
    """The table with blanks between the digits of its numbers, so that each is a token."""
    rows = [tuple(map(_apart, row)) for row in table.rows]
    return replace(table, rows=tuple(rows))


def parts(text: str) -> Iterator[str | int]:
    """Texts and numbers of bins, in order."""
    for place, part in enumerate(_MARKED.split(text)):
        if place % 2:
            yield int(part)
        elif part:
            yield part


def without_bins(text: str) -> str:
    """The text alone."""
    return _MARKED.sub("", text)


def _apart(cell: Cell) -> Cell:
    return " ".join(str(cell)) if _is_number(cell) else cell


def _numbers(table: Table) -> Iterator[tuple[str, float]]:
    names = _columns(table)
    for row in table.rows:
        for name, cell in zip(names, row, strict=True):
            if _is_number(cell):
                yield name, float(min(max(cell, -_LARGEST), _LARGEST))  # type: ignore[type-var, operator]


def _columns(table: Table) -> list[str]:
    """Names of the columns; their numbers where the form tells none, or not one for each."""
    width = len(table.rows[0]) if table.rows else 0
    if len(table.head) == width:
        return [cell_text(name) for name in table.head]
    return [str(number) for number in range(width)]


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)
