"""Structures as HTML, for a person to look at."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

from ofa_modality_structured.cells import cell_text
from ofa_modality_structured.schema import Schema, SchemaTable
from ofa_modality_structured.values import held_structure

_SHOWN = 200
"""Rows that are shown; more are counted."""


def as_html(value: Any) -> str:
    """A fragment that stands by itself, escaped; a text, such as the path of a file, as it is."""
    structure = held_structure(value)
    if structure is None:
        return f'<span style="white-space:pre-wrap">{html.escape(str(value))}</span>'
    if isinstance(structure, Schema):
        tables = [_schema_table(table) for table in structure.tables]
        return "\n".join(tables) or html.escape(structure.name)
    return _table(structure.name, structure.head, structure.rows)


def _schema_table(table: SchemaTable) -> str:
    rows = [(column.name, column.type, _key(column.primary)) for column in table.columns]
    return _table(table.name, ("column", "type", "key"), rows)


def _key(primary: bool) -> str:
    return "primary" if primary else ""


def _table(title: str, head: Iterable[Any], rows: Any) -> str:
    caption = f"<caption>{html.escape(title)}</caption>" if title else ""
    top = "".join(f"<th>{html.escape(cell_text(cell))}</th>" for cell in head)
    lines = [f"<tr>{top}</tr>"] if top else []
    lines += [f"<tr>{_line(row)}</tr>" for row in rows[:_SHOWN]]
    if len(rows) > _SHOWN:
        lines.append(f"<tr><td>{len(rows) - _SHOWN} more rows</td></tr>")
    return f"<table>{caption}{''.join(lines)}</table>"


def _line(row: Iterable[Any]) -> str:
    return "".join(f"<td>{html.escape(cell_text(cell))}</td>" for cell in row)
