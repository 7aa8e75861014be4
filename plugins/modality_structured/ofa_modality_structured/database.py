"""SQLite files, read and never written."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ofa_modality_structured.schema import Column, Schema, SchemaTable
from ofacore.protocols import RowError

MAGIC = b"SQLite format 3\0"
_VERSIONS = slice(18, 20)
"""Bytes that say whether a file has a write-ahead log, which its content alone has not."""
SCANNED = 100_000
"""Rows of a table in which values of a question are looked for."""
_SHORTEST = 2
"""Characters of a cell value that is looked for; shorter ones occur everywhere."""
_TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' "
    "ORDER BY rowid"
)
_COLUMNS = "SELECT name, type, pk FROM pragma_table_xinfo(?) WHERE hidden != 1 ORDER BY cid"
"""Columns that SELECT * gives, those that are computed too."""
_PRIMARY = "SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk"
_FOREIGN = 'SELECT "from", "table", "to", seq FROM pragma_foreign_key_list(?) ORDER BY id DESC, seq'


def open_read_only(source: Path | bytes) -> sqlite3.Connection:
    """A connection through which nothing is written, to a file or to the content of one.

    Raises:
        sqlite3.Error: The file cannot be opened.
    """
    if isinstance(source, bytes):
        connection = sqlite3.connect(":memory:")
        connection.deserialize(_without_log(source))
    else:
        connection = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.text_factory = _as_text
    return connection


def read_schema(
    source: Path | bytes, name: str, question: str, most_values: int, column: str
) -> Schema:
    """Tables in the order of their creation, with keys, and the values of the question.

    Args:
        source: The file, or its content.
        name: Of the database.
        question: Text that is looked for in cells; empty: none is.
        most_values: At most this many values of each column.
        column: Name of the slot, for messages.

    Raises:
        RowError: It is no SQLite database, is damaged or has no table.
    """
    place = f"column '{column}': {shown(source)}"
    try:
        with closing(open_read_only(source)) as connection:
            schema = _schema(connection, name, _Search(question, most_values))
    except sqlite3.Error as error:
        remedy = "give a whole database file of SQLite 3"
        problem = f"cannot be read as an SQLite database ({error}); {remedy}"
        raise RowError(f"{place} {problem}") from None
    if not schema.tables:
        raise RowError(f"{place} is a database without tables; create one first")
    return schema


class _Search:
    """Looks for cell values in a question."""

    def __init__(self, question: str, most: int) -> None:
        self.question = question.casefold()
        self.most = most

    def values(self, connection: sqlite3.Connection, table: str, column: str) -> tuple[str, ...]:
        """Texts of a column that occur in the question as whole words; the longest first."""
        if not self.question or not self.most:
            return ()
        name = quoted(column)
        query = (
            f"SELECT DISTINCT {name} FROM (SELECT {name} FROM {quoted(table)} LIMIT {SCANNED}) "
            f"WHERE typeof({name}) = 'text' AND length({name}) >= {_SHORTEST}"
        )
        found = [cell for (cell,) in connection.execute(query) if self._occurs(cell)]
        return tuple(sorted(found, key=lambda cell: (-len(cell), cell))[: self.most])

    def _occurs(self, cell: str) -> bool:
        words = cell.strip().casefold()
        if len(words) < _SHORTEST or words not in self.question:
            return False
        return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", self.question) is not None


def is_sqlite(path: Path) -> bool:
    """Whether a file begins as an SQLite database does; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def shown(source: Path | bytes) -> str:
    """A file, or the content of one, in a message."""
    return str(source) if isinstance(source, Path) else "the content"


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever its characters."""
    return '"' + name.replace('"', '""') + '"'


def _schema(connection: sqlite3.Connection, name: str, search: _Search) -> Schema:
    names = [table for (table,) in connection.execute(_TABLES)]
    tables = tuple(_table(connection, table, search) for table in names)
    keys = tuple(pair for table in tables for pair in _foreign_keys(connection, table))
    return Schema(name, tables, keys)


def _table(connection: sqlite3.Connection, name: str, search: _Search) -> SchemaTable:
    columns = [
        Column(column, kind, place > 0, search.values(connection, name, column))
        for column, kind, place in connection.execute(_COLUMNS, (name,)).fetchall()
    ]
    return SchemaTable(name, tuple(columns))


def _foreign_keys(connection: sqlite3.Connection, table: SchemaTable) -> Iterator[tuple[str, str]]:
    """Pairs of columns; a key that names no column refers to the primary key of the other table, in its order."""
    for here, other, there, number in connection.execute(_FOREIGN, (table.name,)).fetchall():
        known = connection.execute(_PRIMARY, (other,)).fetchall() if there is None else []
        if number < len(known):
            (there,) = known[number]
        if there is not None:
            yield f"{table.name}.{here}", f"{other}.{there}"


def _without_log(content: bytes) -> bytes:
    """The content of a database as that of one that was never opened with a write-ahead log."""
    changed = bytearray(content)
    changed[_VERSIONS] = b"\x01\x01"
    return bytes(changed)


def _as_text(content: bytes) -> str:
    """Texts of cells; bytes that are no UTF-8 become replacement characters."""
    return content.decode("utf-8", errors="replace")
