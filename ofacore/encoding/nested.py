"""Values inside of a column: ``answers.text.0`` is the first text of the answers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ofacore.ground.excerpts import excerpt, listing
from ofacore.plugin import suggest
from ofacore.sources.data_errors import ColumnError


class NoPlaceError(ColumnError):
    """An object of the row has no such name: the value is absent."""


_PLACE = re.compile(r"\[(-?\d+)\]")


def root_of(column: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """The column that a path begins with: the longest of the known names; the path itself where none fits."""
    parts = _steps(column)
    for end in range(len(parts), 0, -1):
        name = ".".join(parts[:end])
        if name in known:
            return name
    return column


def value_at(row: Mapping[str, Any], column: str) -> Any:
    """The value of a column, or of a place inside of one; None if the place is empty in this row.

    A name leads into an object, and into every object of a list; a number (``.0`` or ``[0]``) to a place of a list,
    negative ones count from its end. A column whose own name has the dots goes first.

    Raises:
        KeyError: The row has no such column.
        NoPlaceError: An object has no such name.
        ColumnError: The path leads through a value that has no inside.
    """
    if column in row:
        return row[column]
    root = root_of(column, row)
    if root not in row:
        raise KeyError(column)
    value, path = row[root], root
    for step in _steps(column)[len(root.split(".")) :]:
        if value is None:
            return None
        value = _inside(value, step, path, column)
        path = f"{path}.{step}"
    return value


def _steps(column: str) -> list[str]:
    return _PLACE.sub(r".\1", column).split(".")


def _inside(value: Any, step: str, path: str, column: str) -> Any:
    if isinstance(value, Mapping):
        if step in value:
            return value[step]
        hint = suggest(step, map(str, value)) or f"it has {listing(value) or 'nothing'}"
        raise NoPlaceError(column, f"'{path}' has no '{step}'; {hint}")
    if isinstance(value, list | tuple) or (hasattr(value, "ndim") and value.ndim):
        if not step.lstrip("-").isdecimal():
            return [None if part is None else _inside(part, step, path, column) for part in value]
        place = int(step)
        return value[place] if -len(value) <= place < len(value) else None
    raise ColumnError(column, f"'{path}' is {excerpt(value)}, which has no '{step}' inside")
