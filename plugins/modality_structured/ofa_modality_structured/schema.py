"""The schema of a database: its tables, columns, keys, and the cell values that a question names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ofacore.protocols import RowError


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    type: str = ""
    """As the database declares it; may be empty."""
    primary: bool = False
    """It is the primary key of its table, or part of it."""
    values: tuple[str, ...] = ()
    """Cell values that occur in the question."""


@dataclass(frozen=True)
class SchemaTable:
    """One table of a database."""

    name: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Schema:
    """One database."""

    name: str
    tables: tuple[SchemaTable, ...]
    foreign_keys: tuple[tuple[str, str], ...] = ()
    """(column that refers, column that is referred to), each as ``table.column``."""

    @property
    def primary_keys(self) -> tuple[str, ...]:
        """Columns of primary keys, as ``table.column``."""
        return tuple(
            f"{table.name}.{column.name}"
            for table in self.tables
            for column in table.columns
            if column.primary
        )


def is_schema(value: Any) -> bool:
    """Whether a dict is a database as `schema_dict` writes it."""
    return isinstance(value, Mapping) and "database" in value and "tables" in value


def schema_dict(schema: Schema) -> dict[str, Any]:
    """A schema as dicts and lists, for JSON; `schema_of` reads it back."""
    return {
        "database": schema.name,
        "tables": [_table_dict(table) for table in schema.tables],
        "foreign_keys": [list(pair) for pair in schema.foreign_keys],
    }


def schema_of(value: Mapping[str, Any], column: str) -> Schema:
    """The schema that a dict holds.

    Raises:
        RowError: A key is missing, or its value of another form.
    """
    try:
        tables = tuple(_table_of(table) for table in value["tables"])
        keys = tuple((str(one), str(other)) for one, other in value.get("foreign_keys", ()))
        return Schema(str(value["database"]), tables, keys)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RowError(
            f"column '{column}': a database as a dict has 'database', 'tables' (each with 'table' and "
            "'columns', each with 'column' and, where known, 'type', 'primary_key', 'values') and "
            f"'foreign_keys' (pairs of 'table.column'); this one does not: {error!r:.80}"
        ) from None


def _table_of(table: Mapping[str, Any]) -> SchemaTable:
    return SchemaTable(str(table["table"]), tuple(_column_of(one) for one in table["columns"]))


def _column_of(column: Mapping[str, Any]) -> Column:
    values = tuple(str(value) for value in column.get("values", ()))
    primary = column.get("primary_key", False) is True
    return Column(str(column["column"]), str(column.get("type", "")), primary, values)


def _table_dict(table: SchemaTable) -> dict[str, Any]:
    return {"table": table.name, "columns": [_column_dict(column) for column in table.columns]}


def _column_dict(column: Column) -> dict[str, Any]:
    """Keys that say nothing are left out."""
    written: dict[str, Any] = {"column": column.name}
    if column.type:
        written["type"] = column.type
    if column.primary:
        written["primary_key"] = True
    if column.values:
        written["values"] = list(column.values)
    return written
