"""From a written form back to a value; what cannot be read back stays text."""

from __future__ import annotations

import json
import re
from typing import Any

from ofa_modality_structured.forms import CELLS, ROWS
from ofa_modality_structured.values import held_structure

_NAMED = re.compile(
    r"^\[table name\](?P<name>.*?)\[table head\](?P<head>.*?)\[table content\](?P<content>.*)$",
    re.DOTALL,
)


def read_back(text: str, form: str) -> Any:
    """The value that a text stands for in a form of a target; the text itself where it stands for none.

    Of ``json`` a value that STRUCT takes; of ``grid`` rows of whole numbers; of ``table`` rows of texts, or a dict
    with name, head and content. A database in its own form stays text.
    """
    readers = {"json": _json, "grid": read_grid, "table": _table}
    found = readers[form](text) if form in readers else None
    return text if found is None else found


def read_grid(text: str) -> list[list[int]] | None:
    """Rows of whole numbers, equally many in each; None where a text is no grid."""
    try:
        rows = [_whole_numbers(row) for row in text.split("|")]
    except ValueError:
        return None
    return rows if len({len(row) for row in rows}) == 1 else None


def _whole_numbers(row: str) -> list[int]:
    return [int(cell) for cell in row.split(":")]


def _json(text: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    known = isinstance(value, list | dict) and held_structure(value) is not None
    return value if known else None


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _table(text: str) -> Any:
    named = _NAMED.match(text.strip())
    if named is None:
        return _rows(text)
    head, content = named["head"].strip(), named["content"].strip()
    return {
        "table_name": named["name"].strip(),
        "table_head": _cells(head) if head else [],
        "table_content": _rows(content) if content else [],
    }


def _rows(text: str) -> list[list[str]]:
    return [_cells(row) for row in f" {text} ".split(ROWS)]


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in f" {row} ".split(CELLS)]
