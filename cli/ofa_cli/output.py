"""Plain output: JSON, and tables without decoration."""

from __future__ import annotations

import logging
import re
import shutil
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import typer

from ofacore.ground.figures import figure
from ofacore.ground.json_text import json_text
from ofacore.ground.printable import escaped, printable
from ofacore.ground.tables import table_lines

_CONTROLS = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What JSON leaves as it is and a terminal obeys."""


def print_json(value: Any) -> None:
    """One indented JSON document on stdout."""
    text = json_text(value, indent=2)
    typer.echo(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def echo(text: str = "") -> None:
    """Text on stdout that may hold what others wrote: on a terminal without what it would obey."""
    shown = escaped(text) if sys.stdout.isatty() else text
    typer.echo(shown)


class _Printable(logging.Formatter):
    """Log records as a terminal can be given them."""

    def format(self, record: logging.LogRecord) -> str:
        """The message, control characters escaped, of bearable length."""
        return printable(super().format(record))


_own_format = warnings.formatwarning


def _formatted(*given: Any, **named: Any) -> str:
    return printable(_own_format(*given, **named))


def guard_logs() -> None:
    """Warnings that reach the terminal for want of any other handler pass through `printable`, Python's own too."""
    warnings.formatwarning = _formatted
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Printable())


def number(value: float | None) -> str:
    """Three decimals; ``-`` for none."""
    return "-" if value is None else figure(value)


def print_table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table that fits the terminal; without one each row is a line, however long."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in table_lines(titles, rows, width):
        echo(line)
