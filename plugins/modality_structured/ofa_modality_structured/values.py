"""From what a row holds to a table or the schema of a database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofa_modality_structured.database import read_schema
from ofa_modality_structured.files import content_of, from_json, is_database, read_table_file
from ofa_modality_structured.schema import Schema, is_schema, schema_of
from ofa_modality_structured.tables import Table, as_table
from ofacore.protocols import RowError

Structure = Table | Schema
_NAMES_OR_CONTENT = (str, Path, bytes)


@dataclass(frozen=True)
class Lookup:
    """What is looked for in a database, and where files are."""

    question: str = ""
    """Text whose words are looked for in its cells."""
    most_values: int = 0
    """At most this many cell values of each column."""
    folder: str = ""
    """Where relative paths are looked for behind the working directory; empty: nowhere else."""


def as_structure(value: Any, column: str, lookup: Lookup) -> Structure:
    """The table or database that a value is, or that it names.

    Args:
        value: Any form that STRUCT takes; a text is JSON where it begins with ``[`` or ``{``, else the path of a file.
        column: Name of the slot, for messages.
        lookup: What is looked for in a database, and where files are.

    Raises:
        RowError: The value cannot be used; tells what is wrong and what would be right.
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        value = from_json(value, column)
    if isinstance(value, _NAMES_OR_CONTENT):
        return _of_file(value, column, lookup)
    if is_schema(value):
        return schema_of(value, column)
    return as_table(value, column)


def held_structure(value: Any) -> Structure | None:
    """The table or database that a value is; None of other values, and of a text that is no JSON.

    No file is opened for a text: it may be what a model wrote.
    """
    if isinstance(value, str) and value.lstrip()[:1] not in ("[", "{"):
        return None
    try:
        return as_structure(value, "", Lookup())
    except RowError:
        return None


def _of_file(value: str | Path | bytes, column: str, lookup: Lookup) -> Structure:
    source = content_of(value, column, lookup.folder)
    if not is_database(source, column):
        return read_table_file(source, column)
    name = source.stem if isinstance(source, Path) else "database"
    return read_schema(source, name, lookup.question, lookup.most_values, column)
