"""Tables of text that fit a width: names stay whole, whatever has to give way for them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

_GAP = "  "
_NOTHING = "-"


def table_lines(
    titles: Sequence[str], rows: Sequence[Sequence[Any]], width: int | None = None
) -> list[str]:
    """The lines of a table.

    Where it is too wide, cells go on in further lines at their blanks; where that is not enough, each row becomes a
    block of its own, one cell a line.

    Args:
        titles: Of the columns, shown in capitals.
        rows: Their cells; an empty one is shown as ``-``.
        width: Columns of the screen; None: as wide as need be, one line a row.
    """
    heads = [title.upper() for title in titles]
    cells = [_cells(row) for row in rows]
    columns = list(zip(heads, *cells, strict=True))
    widths = [max(map(screen_width, column)) for column in columns]
    if width is None or _total(widths) <= width:
        return [_line(row, widths) for row in (heads, *cells)]
    least = [_widest_word(column) for column in columns]
    if _total(least) > width:
        return _blocks(heads, cells)
    widths = _shared(least, widths, width)
    return [line for row in (heads, *cells) for line in _lines(row, widths)]


def _cells(row: Sequence[Any]) -> list[str]:
    return [str(cell) or _NOTHING for cell in row]


def _widest_word(column: Sequence[str]) -> int:
    return max(screen_width(word) for cell in column for word in cell.split())


def screen_width(text: str) -> int:
    """Columns that a text takes on a screen: two for a wide letter, none for a mark on another (UAX 11)."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    marks = sum(unicodedata.combining(letter) > 0 for letter in text)
    return len(text) + wide - marks


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _shared(least: Sequence[int], wanted: Sequence[int], width: int) -> list[int]:
    """Widths of columns, from what they need, as far as the room goes; the narrow ones get theirs first."""
    found, room = list(least), width - _total(least)
    for column in sorted(range(len(found)), key=lambda column: wanted[column] - least[column]):
        more = min(room, wanted[column] - least[column])
        found[column] += more
        room -= more
    return found


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """A row whose cells may take several lines."""
    parts = [
        wrap(cell, size, break_long_words=False, break_on_hyphens=False)
        for cell, size in zip(row, widths, strict=True)
    ]
    height = max(map(len, parts))
    filled = [part + [""] * (height - len(part)) for part in parts]
    return [_line(line, widths) for line in zip(*filled, strict=True)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell + " " * (size - screen_width(cell)) for cell, size in zip(cells, widths, strict=True)
    ]
    return _GAP.join(padded).rstrip()


def _blocks(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    size = max(map(screen_width, heads))
    lines = []
    for row in rows:
        lines += [_line((head, cell), (size, 0)) for head, cell in zip(heads, row, strict=True)]
        lines.append("")
    return lines[:-1]
