"""How a structure is written as one text: the forms of the attribute ``form``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ofa_modality_structured.cells import Cell, cell_text, row_texts
from ofa_modality_structured.original import KINDS, cleaned, cleaned_cells
from ofa_modality_structured.schema import Column, Schema, SchemaTable, schema_dict
from ofa_modality_structured.tables import Row, Table
from ofa_modality_structured.values import Structure
from ofacore.protocols import RowError

FORMS = ("json", "table", "database", "grid")
CELLS = " : "
ROWS = " | "
_TEXT = {str}
"""Types of the cells of a head that is text alone."""
_MARKS = (CELLS, ROWS, "\n", "[table ")


@dataclass(frozen=True)
class Writing:
    """What the attributes of a slot say about how it is written."""

    form: str = ""
    """One of `FORMS`; empty: what suits the value."""
    target: bool = False
    """It is to be read back."""
    max_rows: int | None = None
    col_type: str = ""
    types: bool = False
    keys: bool = False

    @classmethod
    def of(cls, attributes: Mapping[str, Any], side: str) -> Writing:
        """From the attributes of a slot."""
        return cls(
            attributes.get("form") or "",
            side == "target",
            attributes.get("max_rows"),
            attributes.get("col_type") or "",
            bool(attributes.get("types")),
            bool(attributes.get("keys")),
        )

    def form_of(self, structure: Structure) -> str:
        """The form that is asked for, or that suits: JSON in the target, else the form of its kind."""
        if self.form or self.target:
            return self.form or "json"
        if isinstance(structure, Schema):
            return "database"
        return "grid" if structure.is_grid else "table"


def written(structure: Structure, writing: Writing, column: str) -> str:
    """A structure as text.

    Raises:
        RowError: It has no such form.
    """
    form = writing.form_of(structure)
    if isinstance(structure, Schema):
        return _written_schema(structure, form, writing, column)
    table = shortened(structure, writing.max_rows)
    if form == "json":
        return json.dumps(table.plain, ensure_ascii=False, allow_nan=False)
    if form == "table":
        return _as_rows(table, writing, column)
    if form == "grid" and table.is_grid:
        return ROWS.join(_digits(row) for row in table.rows)
    remedy = "form=table or form=json"
    needs = {"database": "a database", "grid": "a list of rows of whole numbers"}[form]
    raise RowError(f"column '{column}': form={form} needs {needs}, and this is a table; {remedy}")


def _written_schema(schema: Schema, form: str, writing: Writing, column: str) -> str:
    if form == "json":
        return json.dumps(schema_dict(schema), ensure_ascii=False)
    if form == "database":
        return _as_schema(schema, writing)
    raise RowError(
        f"column '{column}': a database has no form={form}; form=database or form=json have it"
    )


def _as_rows(table: Table, writing: Writing, column: str) -> str:
    """Cells parted by ``:``, rows by ``|``, in small letters; a name and a head with marks before them."""
    kinds = _kinds(writing.col_type, column)
    named = isinstance(table.plain, dict) and "table_content" in table.plain
    above = table.head if table.head and not named else ()
    if writing.target:
        _check_separators((above, *table.rows, table.head, (table.name,)), column)
    lines = [_row(row, kinds, column) for row in table.rows]
    if above:
        lines.insert(0, _head(above, kinds, column))
    text = ROWS.join(lines)
    if named:
        head = CELLS.join(cell_text(cell) for cell in table.head)
        text = f"[table name] {table.name} [table head] {head} [table content] {text}"
    return text.lower()


def _digits(row: Iterable[Cell]) -> str:
    return CELLS.join(str(cell) for cell in row)


def _kinds(written: str, column: str) -> list[str]:
    """Kinds of the columns, as ``col_type`` names them."""
    kinds = [kind.strip() for kind in written.split(":")] if written else []
    if not set(kinds) <= set(KINDS):
        raise RowError(
            f"column '{column}': col_type={written} is not understood; write c (a cell) or k (a key) "
            "for each column, parted by ':', as in col_type='c:k:c'"
        )
    return kinds


def _head(head: Row, kinds: list[str], column: str) -> str:
    """The first line, which mostly is that of the table before."""
    if kinds or set(map(type, head)) != _TEXT:
        return _row(head, kinds, column)
    return _usual_head(head)


@lru_cache(maxsize=256)
def _usual_head(head: tuple[str, ...]) -> str:
    return cleaned_cells(head, CELLS)


def _row(row: Iterable[Cell], kinds: list[str], column: str) -> str:
    cells = row_texts(row)
    if not kinds:
        return cleaned_cells(cells, CELLS)
    if len(kinds) != len(cells):
        raise RowError(
            f"column '{column}': col_type names {len(kinds)} columns, but its rows have {len(cells)}; "
            "name each of them, parted by ':'"
        )
    return CELLS.join(cleaned(cell, kind) for cell, kind in zip(cells, kinds, strict=True)).strip()


def _check_separators(rows: Iterable[Iterable[Cell]], column: str) -> None:
    """What is to be read back may not hold what parts cells and rows."""
    for cell in (cell_text(cell) for row in rows for cell in row):
        padded = f" {cell} "
        if any(mark in padded for mark in _MARKS):
            raise RowError(
                f"column '{column}': the cell {cell!r:.60} holds ':' or '|' between blanks, a line break or "
                "'[table', which part the cells and rows of form=table; use form=json"
            )


def _as_schema(schema: Schema, writing: Writing) -> str:
    """``| name | table : column , column ( values )``, and keys where they are asked for."""
    tables = [_schema_table(table, writing.types) for table in schema.tables]
    parts = [f"| {schema.name}", *tables]
    if writing.keys and schema.primary_keys:
        parts.append("| primary keys : " + " , ".join(schema.primary_keys).lower())
    if writing.keys and schema.foreign_keys:
        pairs = " , ".join(f"{one} = {other}" for one, other in schema.foreign_keys)
        parts.append(f"| foreign keys : {pairs.lower()}")
    return " ".join(parts)


def _schema_table(table: SchemaTable, types: bool) -> str:
    columns = " , ".join(_column(column, types) for column in table.columns)
    return f"| {table.name.lower()} : {columns}"


def _column(column: Column, types: bool) -> str:
    text = column.name.lower()
    if types and column.type:
        text = f"{text} {column.type.lower()}"
    return f"{text} ( {' , '.join(column.values)} )" if column.values else text


def shortened(table: Table, most: int | None) -> Table:
    """A table with its first rows alone; the first of a list of rows is its head and does not count."""
    if most is None:
        return table
    plain = table.plain
    if isinstance(plain, list):
        below = 0 if table.head or table.is_grid else 1
        return replace(table, plain=plain[: most + below], rows=table.rows[: most + below])
    if "table_content" in plain:
        plain = {**plain, "table_content": plain["table_content"][:most]}
    elif all(isinstance(cells, list) for cells in plain.values()):
        plain = {name: cells[:most] for name, cells in plain.items()}
    return replace(table, plain=plain, rows=table.rows[:most])
