"""Plain output: JSON, and tables without decoration."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import typer


def print_json(value: Any) -> None:
    """One indented JSON document on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def number(value: float | None) -> str:
    """Three decimals; ``-`` for none."""
    return "-" if value is None else f"{value:.3f}"


def print_table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Columns as wide as their longest cell; the last one is not padded."""
    cells = [[str(title).upper() for title in titles], *[[str(cell) or "-" for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        typer.echo("  ".join(padded).rstrip())


def _plain(value: Any) -> Any:
    """Arrays as lists, everything else as its text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
