"""How fast rows are answered, on standard error: one line that changes on a terminal, else one now and then."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import TextIO

_OFTEN, _SELDOM = 0.25, 30.0
"""Seconds between two lines on a terminal, and elsewhere."""


class Rate:
    """Rows a second and the time that is left.

    Args:
        total: Rows in all; None if unknown.
        done: Rows that were answered before.
        stream: Where to; default standard error.
        name: What stands before the numbers.
    """

    def __init__(
        self,
        total: int | None,
        done: int = 0,
        stream: TextIO | None = None,
        name: str = "",
    ) -> None:
        self._total, self._first, self._done = total, done, done
        self._stream, self._name = stream or sys.stderr, f"{name}: " if name else ""
        self._start = self._shown = time.monotonic()
        if self._stream.isatty():
            known = f"{done} of {total}" if total else "0"
            self._show(f"{self._name}{known} rows")

    @property
    def rows(self) -> int:
        """Rows answered now."""
        return self._done - self._first

    @property
    def a_second(self) -> float:
        """Rows a second since the start."""
        return self.rows / max(time.monotonic() - self._start, 1e-9)

    def add(self, rows: int) -> None:
        """So many more are done."""
        self._done += rows
        live = self._stream.isatty()
        if time.monotonic() - self._shown < (_OFTEN if live else _SELDOM):
            return
        self._shown = time.monotonic()
        self._show(self._line())

    def close(self) -> None:
        """Take the changing line away."""
        if self._stream.isatty():
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _show(self, line: str) -> None:
        shown = f"\r{line}\x1b[K" if self._stream.isatty() else f"{line}\n"
        self._stream.write(shown)
        self._stream.flush()

    def _line(self) -> str:
        if self._total is None:
            return f"{self._name}{self._done} rows  {self.a_second:.1f} rows/s"
        left = timedelta(seconds=round((self._total - self._done) / max(self.a_second, 1e-9)))
        return (
            f"{self._name}{self._done}/{self._total} rows  {self.a_second:.1f} rows/s  left {left}"
        )
