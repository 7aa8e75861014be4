"""Foreign SQL on a database: it reads, ends, and gives few rows, or it fails."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from ofa_modality_structured.database import open_read_only

_ALLOWED = frozenset(
    (
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
    )
)
"""What a query may do; SQLite asks for each part when it prepares one."""
_STEPS = 1000
"""Instructions of SQLite between two looks at the clock."""
_LONGEST = 10_000_000
"""Bytes of a cell, and of everything that a function of SQL makes."""
_MOST = 100_000_000
"""Bytes of the texts and blobs of all rows together: ten thousand of the longest cells would fill any memory."""
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: _LONGEST,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 200,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}

Rows = list[tuple[object, ...]]


class QueryError(Exception):
    """A query that did not give rows; says why."""


def run_query(path: Path, sql: str, seconds: float, most_rows: int) -> Rows:
    """The rows of one query, which cannot write, attach another file, or go on for ever.

    Args:
        path: The SQLite file.
        sql: One statement.
        seconds: Longest time that it may take.
        most_rows: Most rows that it may give.

    Raises:
        QueryError: It fails, is refused, takes longer or gives more.
    """
    try:
        with closing(open_read_only(path)) as connection:
            _confine(connection, time.monotonic() + seconds)
            cursor = connection.execute(sql)
            rows = _fetched(cursor, most_rows)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError, MemoryError) as error:
        raise QueryError(_told(error, seconds)) from None
    if cursor.description is None:
        raise QueryError("it is no query: it gives no columns")
    return rows


def _fetched(cursor: sqlite3.Cursor, most_rows: int) -> Rows:
    rows: Rows = []
    size = 0
    for row in cursor:
        rows.append(row)
        size += sum(len(cell) for cell in row if isinstance(cell, str | bytes))
        if len(rows) > most_rows:
            raise QueryError(f"it gives more than {most_rows} rows")
        if size > _MOST:
            raise QueryError(f"its rows hold more than {_MOST} bytes")
    return rows


def _confine(connection: sqlite3.Connection, deadline: float) -> None:
    for limit, most in _LIMITS.items():
        connection.setlimit(limit, most)
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    connection.set_authorizer(_permission)


def _permission(action: int, *_: object) -> int:
    if action in _ALLOWED:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _told(error: Exception, seconds: float) -> str:
    if "interrupted" in str(error):
        return f"it takes longer than {seconds:g} seconds"
    return str(error) or type(error).__name__
