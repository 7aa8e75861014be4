"""Some columns of rows that several tasks share."""

from __future__ import annotations

from ofa_starter import Splits


def only(splits: Splits, *columns: str) -> Splits:
    """The same splits with these columns alone."""
    return {
        split: [{name: row[name] for name in columns} for row in rows]
        for split, rows in splits.items()
    }
