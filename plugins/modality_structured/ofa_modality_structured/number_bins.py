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

MARK = "\0"
_MARKED = re.compile(f"{MARK}(\\d+){MARK}")
_LARGEST = 1e300
"""Whole numbers may be beyond what a float holds."""
_NUMBERS = (int, float)
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
            for name, number in numbers_of(table):
                seen.setdefault(name, []).append(number)
        shares = np.linspace(0, 1, most + 1)[1:-1]
        edges = {name: np.unique(np.quantile(found, shares)) for name, found in seen.items()}
        return cls({name: found.tolist() for name, found in edges.items()})

    def marked(self, table: Table) -> Table:
        """The table with the bins of its numbers in their place, as marks that `parts` finds."""
        names = columns_of(table)
        rows = [self._marked_row(row, names) for row in table.rows]
        return replace(table, rows=tuple(rows))

    def _marked_row(self, row: Row, names: Sequence[str]) -> Row:
        return tuple(self._marked_cell(cell, name) for cell, name in zip(row, names, strict=True))

    def _marked_cell(self, cell: Cell, name: str) -> Cell:
        if not is_number(cell):
            return cell_text(cell).replace(MARK, "")
        number = bisect_right(self.edges.get(name, ()), cell)  # type: ignore[type-var]
        return marked(number)


def with_digits(table: Table) -> Table:
    """The table with blanks between the digits of its numbers, so that each is a token."""
    rows = [tuple(map(_apart, row)) for row in table.rows]
    return replace(table, rows=tuple(rows))


def marked(number: int) -> str:
    """A number in the place of a cell, which `parts` finds."""
    return f"{MARK}{number}{MARK}"


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
    return " ".join(str(cell)) if is_number(cell) else cell


def as_float(cell: Cell) -> float:
    """A number as a float, however large it is."""
    if type(cell) is float and -_LARGEST <= cell <= _LARGEST:
        return cell
    return float(min(max(cell, -_LARGEST), _LARGEST))  # type: ignore[type-var, operator]


def numbers_of(table: Table) -> Iterator[tuple[str, float]]:
    """(Column, number) of every number of a table."""
    names = columns_of(table)
    for row in table.rows:
        for name, cell in zip(names, row, strict=True):
            if is_number(cell):
                yield name, as_float(cell)


def columns_of(table: Table) -> list[str]:
    """Names of the columns; their numbers where the form tells none, or not one for each."""
    width = len(table.rows[0]) if table.rows else 0
    if len(table.head) == width:
        return [cell_text(name) for name in table.head]
    return [str(number) for number in range(width)]


def is_number(cell: Any) -> bool:
    """Whether a cell is one; true and false are none."""
    return isinstance(cell, _NUMBERS) and not isinstance(cell, bool)
