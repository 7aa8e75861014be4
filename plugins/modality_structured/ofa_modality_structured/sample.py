"""A value for checks and documentation."""

from __future__ import annotations


def table() -> list[list[str | int | None]]:
    """A small table with a head, numbers and an absent cell."""
    return [["name", "age"], ["ann", 31], ["bob", None]]
