"""Tables from the Python values that a row may hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ofa_modality_structured.cells import Cell, are_plain, as_cell, cell_text, is_plain, plain_of
from ofa_modality_structured.recognition import is_array, is_frame, is_rows
from ofacore.protocols import RowError, listing

Row = tuple[Cell, ...]
_TEXT = {str}
"""Types of the keys of a record whose keys are text alone."""
NAMED = ("table_name", "table_head", "table_content")
"""Keys of a table with a name and a head of its own, as the original has them."""


@dataclass(frozen=True)
class Table:
    """One table, in the caller's form and as rows."""

    plain: Any
    """What it is as JSON: lists, dicts and cells, in the caller's form."""
    rows: tuple[Row, ...]
    """All rows equally long; of a list of rows the first one too, which mostly is its head."""
    head: Row = ()
    """Names of the columns, where the form tells them apart from the rows."""
    name: str = ""

    @property
    def is_grid(self) -> bool:
        """Whether it is a list of rows of whole numbers."""
        if not isinstance(self.plain, list) or self.head:
            return False
        cells = [cell for row in self.rows for cell in row]
        whole = all(isinstance(cell, int) and not isinstance(cell, bool) for cell in cells)
        return bool(cells) and whole


def as_table(value: Any, column: str) -> Table:
    """A table of any form that STRUCT takes; nothing of the value itself is kept or changed.

    Args:
        value: List of rows, list of dicts, dict of columns, one dict, dict with ``table_content``, data frame, array.
        column: Name of the slot, for messages.

    Raises:
        RowError: It is none of these, is empty, has rows of unequal lengths, or cells that are no cells.
    """
    if type(value) is not dict:
        if is_frame(value):
            return _of_frame(value, column)
        if is_array(value):
            value = plain_of(value)
    if isinstance(value, Mapping):
        return _of_mapping(value, column)
    if isinstance(value, list | tuple) and value:
        if is_rows(value):
            return _of_rows(value, column)
        if all(isinstance(row, Mapping) for row in value):
            return _of_records(value, column)
    raise RowError(f"column '{column}': {_refused(value)}")


def checked_rows(rows: Sequence[Sequence[Any]], column: str) -> tuple[Row, ...]:
    """Rows of cells, equally long.

    Raises:
        RowError: A row is longer or shorter than the first, or holds what is no cell.
    """
    checked = []
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise RowError(
                f"column '{column}': row {number} has {len(row)} cells, but the first row has "
                f"{len(rows[0])}; fill the missing cells with None"
            )
        place = f"column '{column}', row {number}"
        checked.append(tuple(as_cell(cell, place) for cell in row))
    return tuple(checked)


def _of_rows(value: Sequence[Sequence[Any]], column: str) -> Table:
    rows = checked_rows(value, column)
    if not rows[0]:
        raise RowError(f"column '{column}': a table without columns; give rows with cells")
    return Table([list(row) for row in rows], rows)


def _of_frame(frame: Any, column: str) -> Table:
    """A data frame is a list of rows, the first of which is its head; its index is left out."""
    head = [str(name) for name in frame.columns]
    return _of_rows([head, *frame.itertuples(index=False, name=None)], column)


def _of_records(records: Sequence[Mapping[Any, Any]], column: str) -> Table:
    """Dicts as rows; a key that a dict lacks is an absent cell."""
    plain = [_checked_record(record, column) for record in records]
    head = tuple(dict.fromkeys(key for record in plain for key in record))
    if not head:
        raise RowError(f"column '{column}': its dicts are empty; give them the cells of a row")
    rows = [tuple(map(record.get, head)) for record in plain]
    return Table(plain, tuple(rows), head)


def _of_mapping(value: Mapping[Any, Any], column: str) -> Table:
    if not value:
        raise RowError(f"column '{column}': an empty dict; give it columns or cells")
    if "table_content" in value:
        return _named_table(value, column)
    if all(map(_is_column, value.values())):
        return _of_columns(value, column)
    record = _checked_record(value, column)
    return Table(record, (tuple(record.values()),), tuple(record))


def _of_columns(value: Mapping[Any, Any], column: str) -> Table:
    names = [_key(name, column) for name in value]
    columns = [_cells_of(cells, f"column '{column}', '{name}'") for name, cells in value.items()]
    for name, cells in zip(names, columns, strict=True):
        if len(cells) != len(columns[0]):
            raise RowError(
                f"column '{column}': '{name}' has {len(cells)} cells, but '{names[0]}' has "
                f"{len(columns[0])}; give every column as many"
            )
    plain = dict(zip(names, columns, strict=True))
    return Table(plain, tuple(zip(*columns, strict=True)), tuple(names))


def _named_table(value: Mapping[Any, Any], column: str) -> Table:
    """A dict with ``table_name``, ``table_head`` (names, or one text) and ``table_content``."""
    _check_keys(value, column)
    content = value["table_content"]
    if not is_rows(content):
        raise RowError(
            f"column '{column}': 'table_content' is no list of rows; give lists of cells"
        )
    rows = checked_rows(content, column)
    head = value.get("table_head")
    cells = _head_cells(head, column)
    if rows and len(cells) > 1 and len(cells) != len(rows[0]):
        raise RowError(
            f"column '{column}': 'table_head' has {len(cells)} names for {len(rows[0])} cells a row"
        )
    title = cell_text(as_cell(value.get("table_name"), f"column '{column}', 'table_name'"))
    plain = {key: value[key] for key in NAMED if key in value}
    plain |= {"table_content": [list(row) for row in rows]}
    if isinstance(head, list | tuple):
        plain["table_head"] = list(cells)
    return Table(plain, rows, cells, title)


def _check_keys(value: Mapping[Any, Any], column: str) -> None:
    odd = [str(key) for key in value if key not in NAMED]
    if odd:
        raise RowError(
            f"column '{column}': a table with 'table_content' has no {listing(odd)}; "
            f"its keys are {', '.join(NAMED)}"
        )


def _head_cells(head: Any, column: str) -> Row:
    if head is None:
        return ()
    names = head if isinstance(head, list | tuple) else [head]
    return tuple(as_cell(name, f"column '{column}', 'table_head'") for name in names)


def _checked_record(record: Mapping[Any, Any], column: str) -> dict[str, Cell]:
    if type(record) is dict and set(map(type, record)) == _TEXT and are_plain(record.values()):
        return record.copy()
    return {
        _key(key, column): cell if is_plain(cell) else as_cell(cell, f"column '{column}', '{key}'")
        for key, cell in record.items()
    }


def _key(key: Any, column: str) -> str:
    if not isinstance(key, str):
        raise RowError(f"column '{column}': the name {key!r:.60} is no text; name columns by texts")
    return key


def _is_column(cells: Any) -> bool:
    return isinstance(cells, (list, tuple)) or _is_line(cells)


def _is_line(cells: Any) -> bool:
    """Whether this is an array or a series of one axis."""
    return getattr(cells, "ndim", None) == 1 and callable(getattr(cells, "tolist", None))


def _cells_of(cells: Any, place: str) -> list[Cell]:
    line = plain_of(cells) if _is_line(cells) else cells
    return [as_cell(cell, place) for cell in line]


def _refused(value: Any) -> str:
    ways = "give a list of rows, a list of dicts, a dict of columns, a data frame, or a file"
    if isinstance(value, list | tuple) and not value:
        return f"an empty table; {ways}, with a head at least"
    if isinstance(value, list | tuple):
        return f"a list whose parts are neither all rows nor all dicts; {ways}"
    return f"{value!r:.60} is no table; {ways}"
