"""Some columns of rows that several tasks share."""

from __future__ import annotations

from ofa_starter import Row, Splits


def only(splits: Splits, *columns: str) -> Splits:
    """The same splits with these columns alone."""
    found: Splits = {}
    for split, rows in splits.items():
        found[split] = [_only(row, columns) for row in rows]
    return found


def _only(row: Row, columns: tuple[str, ...]) -> Row:
    return {name: row[name] for name in columns}
