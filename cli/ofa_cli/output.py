"""Plain output: JSON, and tables without decoration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from ofacore.json_text import json_text


def print_json(value: Any) -> None:
    """One indented JSON document on stdout."""
    typer.echo(json_text(value, indent=2))


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
