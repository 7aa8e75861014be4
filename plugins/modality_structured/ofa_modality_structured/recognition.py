"""What is one value of STRUCT, told by its outer form alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def is_structure(value: Any) -> bool:
    """True for one table, record, grid, database or file; False for a list of these, or anything else.

    A list of dicts is one table, whose rows the dicts are.
    """
    if isinstance(value, str | bytes | Path):
        return True
    if isinstance(value, Mapping):
        return len(value) > 0
    if isinstance(value, list | tuple):
        return _is_rows(value)
    return is_frame(value) or is_array(value)


def is_frame(value: Any) -> bool:
    """Whether this is a data frame, such as that of pandas: columns, and rows as tuples."""
    return hasattr(value, "columns") and callable(getattr(value, "itertuples", None))


def is_array(value: Any) -> bool:
    """Whether this is an array of two axes, such as that of numpy."""
    return getattr(value, "ndim", None) == 2 and callable(getattr(value, "tolist", None))


def is_rows(value: Any) -> bool:
    """Whether this is a list of rows that are lists."""
    return isinstance(value, list | tuple) and all(isinstance(row, list | tuple) for row in value)


def _is_rows(value: list[Any] | tuple[Any, ...]) -> bool:
    """A list of dicts, or a list of rows of which at least one holds something that is no list."""
    if not value:
        return False
    if all(isinstance(row, Mapping) for row in value):
        return any(len(row) > 0 and not _is_whole(row) for row in value)
    return is_rows(value) and any(_holds_cells(row) for row in value)


def _is_whole(row: Mapping[Any, Any]) -> bool:
    """Whether a dict is a table or a database by itself, not the row of one."""
    return any(isinstance(cell, Mapping | list | tuple) for cell in row.values())


def _holds_cells(row: list[Any] | tuple[Any, ...]) -> bool:
    return any(not isinstance(cell, list | tuple | Mapping) for cell in row)
