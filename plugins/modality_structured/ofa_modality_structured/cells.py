"""Cells: what may stand in one, as plain Python and as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

from ofacore.protocols import RowError

_LONGEST = 10_000
"""Bits of a whole number; Python reads no longer ones from text."""
Cell = str | int | float | bool | None
_COUNTED = tuple(f"datetime64[{unit}]" for unit in ("ns", "ps", "fs", "as"))
"""Dates of numpy that become counts of their unit, as Python's are no finer than microseconds."""
_AS_WRITTEN: Mapping[type, Callable[[Any], str]] = {str: str, int: str, float: str}
"""Kinds of cells that Python writes as they are meant."""


def as_cell(value: Any, place: str) -> Cell:
    """A cell as text, number, true or false, or None; dates as their ISO text.

    Args:
        value: The cell as it was given; a number that is none (NaN, NaT) is an absent cell.
        place: Column and place in it, for the message.

    Raises:
        RowError: It is something else, or an endless number.
    """
    if is_plain(value):
        return value  # type: ignore[no-any-return]
    if isinstance(value, Decimal):
        value = _of_decimal(value)
    if _is_absent(value):
        return None
    if isinstance(value, date | time):
        return value.isoformat()
    number = _as_number(value)
    if number is not None:
        return number
    if getattr(value, "shape", None) == () and callable(getattr(value, "tolist", None)):
        return _of_numpy(value, place)
    ways = "a cell is a text, a finite number, true, false or None"
    if isinstance(value, Mapping | list | tuple):
        ways += "; the transform 'to_json' makes JSON text of what a column nests"
    raise RowError(f"{place}: {_shown(value)} is no cell; {ways}")


def cell_text(cell: Cell) -> str:
    """A cell as it is written between separators; None is the empty text."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    return str(cell)


def plain_of(value: Any) -> Any:
    """What an array, a series or a single value of numpy is as plain Python; dates to the microsecond."""
    kind = getattr(getattr(value, "dtype", None), "name", "")
    return (value.astype("datetime64[us]") if kind in _COUNTED else value).tolist()


def row_texts(row: Iterable[Cell]) -> list[str]:
    """The cells of a row as they are written."""
    return [_AS_WRITTEN.get(type(cell), cell_text)(cell) for cell in row]


def are_plain(cells: Iterable[Any]) -> bool:
    """Whether all cells may stay as they are: `is_plain` without a call for each."""
    for cell in cells:
        kind = type(cell)
        if kind is str or cell is None:
            continue
        if kind is float and math.isfinite(cell):
            continue
        if not is_plain(cell):
            return False
    return True


def is_plain(value: Any) -> bool:
    """Whether a cell may stay as it is; told by exact types first, which most cells have."""
    kind = type(value)
    if kind is str:
        return True
    if kind is int:
        return value.bit_length() <= _LONGEST  # type: ignore[no-any-return]
    if kind is float:
        return math.isfinite(value)
    return value is None or isinstance(value, str | bool)


def _as_number(value: Any) -> int | float | None:
    """A number that JSON can hold and read back; None of anything else."""
    if isinstance(value, Integral):
        return int(value) if int(value).bit_length() <= _LONGEST else None
    if isinstance(value, Real) and math.isfinite(value):
        return float(value)
    return None


def _of_decimal(value: Decimal) -> int | float:
    """A whole number where it is one; else the nearest float, which may be endless."""
    if value.is_nan():
        return math.nan
    if value.is_finite() and value == value.to_integral_value():
        return int(value)
    return float(value)


def _of_numpy(value: Any, place: str) -> Cell:
    plain = plain_of(value)
    if type(plain) is type(value):
        raise RowError(f"{place}: a {type(value).__name__} is no cell; give a text or a number")
    return as_cell(plain, place)


def _is_absent(value: Any) -> bool:
    """Whether this is a number or a date that is none, such as NaN."""
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Real) and bool(value != value)


def _shown(value: Any) -> str:
    """A value for a message, short whatever it holds."""
    if isinstance(value, dict | list | tuple | set):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, int):
        return f"a number of {value.bit_length()} bits"
    return f"{value!r:.80}"
