"""Transforms of raw columns as data sets of this family are published: lines, grids, SQL, names of databases.

Each leaves alone what it does not know by its form, such as a list, JSON text or the path of a file.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from ofacore.plugin import Component, Option

_QUOTED = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*")""")
_MARKED = re.compile(r"\[table name\](.*)\[table head\](.*)\[table content\](.*)", re.DOTALL)
_DIGITS = re.compile(r"[0-9.]+")


def sqlite_path(value: Any, folder: str = "database") -> Any:
    """The name of a database becomes the path of its file: ``cars`` -> ``database/cars/cars.sqlite``.

    A text with a dot or a separator of folders is a path already.
    """
    if not isinstance(value, str) or not value or set(value) & set("./\\[{"):
        return value
    return str(Path(folder) / value / f"{value}.sqlite")


def lower_sql(value: str) -> str:
    """SQL in small letters and with single blanks, except between quotation marks."""
    parts = _QUOTED.split(value.strip())
    parts[::2] = [re.sub(r"\s+", " ", part).lower() for part in parts[::2]]
    return "".join(parts)


def triples(value: Any) -> Any:
    """``a : b : c | d : e : f`` becomes ``[["a", "b", "c"], ["d", "e", "f"]]``; the third part may hold a colon.

    Raises:
        ValueError: A part has fewer than three cells.
    """
    if not _is_linear(value):
        return value
    return [_triple(part) for part in value.split("|")]


def marked_table(value: Any) -> Any:
    """``[table name] a [table head] b : c [table content] d : e | f : g`` becomes a table with name, head and rows."""
    found = _MARKED.search(value) if isinstance(value, str) else None
    if found is None:
        return value
    name, head, content = found.groups()
    rows = content.strip().removesuffix("|").split(" | ")
    return {
        "table_name": name.strip(),
        "table_head": _cells(head),
        "table_content": [_cells(row) for row in rows],
    }


def digit_grid(value: Any) -> Any:
    """``1 : 0 | 0 : 1``, or the cells in one row as ``1001`` or ``1..1``, become ``[[1, 0], [0, 1]]``.

    Raises:
        ValueError: A cell is no whole number.
    """
    if _is_linear(value):
        return [list(map(int, _cells(row))) for row in value.split("|")]
    text = value.strip() if isinstance(value, str) else ""
    side = math.isqrt(len(text))
    if not _DIGITS.fullmatch(text) or side * side != len(text):
        return value
    cells = [int(cell) for cell in text.replace(".", "0")]
    return [cells[start : start + side] for start in range(0, len(cells), side)]


def _is_linear(value: Any) -> bool:
    """Whether this is text with cells parted by `` : ``, and no JSON."""
    return isinstance(value, str) and " : " in value and value.lstrip()[:1] not in ("[", "{")


def _cells(row: str) -> list[str]:
    """Cells parted by `` : ``; the first and the last may be empty."""
    return [cell.strip() for cell in f" {row} ".split(" : ")]


def _triple(text: str) -> list[str]:
    cells = [cell.strip() for cell in text.split(" : ", 2)]
    if len(cells) < 3:
        raise ValueError(f"{text.strip()!r:.60} is no triple; write its three parts as a : b : c")
    return cells


def _transform(name: str, doc: str, **options: Option) -> Component:
    return Component("transform", name, f"{__name__}:{name}", doc, options=options)


TRANSFORMS: tuple[Component, ...] = (
    _transform(
        "sqlite_path",
        "the name of a database becomes the path of its SQLite file",
        folder=Option("database", "Folder that holds a folder of its name for each database."),
    ),
    _transform("lower_sql", "SQL in small letters, except between quotation marks"),
    _transform("triples", "`a : b : c | d : e : f` becomes lists of three"),
    _transform("marked_table", "`[table name] ... [table head] ...` becomes a table"),
    _transform("digit_grid", "`1 : 0 | 0 : 1` or `1001` becomes rows of whole numbers"),
)
"""For the manifest of this package."""
