"""Answers on disk as they come: appended by whole windows, mended and gone on with after a stop."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

from ofa_cli.predicting.places import AnswerPlaces


class Standing(NamedTuple):
    """How far an output has come."""

    rows: int = 0
    """Rows that are answered, or known as bad: all with a smaller number."""
    answers: int = 0
    """Bytes of the journal that belong to them."""
    bad: int = 0
    """Bytes of the file of bad rows that belong to them."""


def standing(places: AnswerPlaces, window: int, total: int | None) -> Standing:
    """How far the files reach without a gap, at the border of a window unless everything is there.

    A window that was half written is answered again, so that the answers are those of a run without a stop.
    """
    answers, bad = _lines(places.journal), _lines(places.bad)
    answer, fault = next(answers, None), next(bad, None)
    now = last = Standing()
    while True:
        if answer is not None and answer[0] == now.rows:
            now, answer = now._replace(rows=now.rows + 1, answers=answer[1]), next(answers, None)
        elif fault is not None and fault[0] == now.rows:
            now, fault = now._replace(rows=now.rows + 1, bad=fault[1]), next(bad, None)
        else:
            return now if now.rows == total else last
        if now.rows % window == 0:
            last = now


def _lines(path: Path) -> Iterator[tuple[int, int]]:
    """Number of the row and end in bytes of every whole line; ends at the first that is none."""
    if not path.exists():
        return
    end = 0
    with path.open("rb") as file:
        for line in file:
            end += len(line)
            try:
                row = json.loads(line)["row"] if line.endswith(b"\n") else None
            except (ValueError, KeyError, TypeError):
                return
            if not isinstance(row, int):
                return
            yield row, end


class Journal:
    """Appends windows of answers; bad rows first, so that a row is never passed over.

    Whoever interrupts it is told what is kept, and how to go on.
    """

    def __init__(self, places: AnswerPlaces, start: Standing) -> None:
        self._places, self._rows = places, start.rows
        places.final.parent.mkdir(parents=True, exist_ok=True)
        _cut(places.journal, start.answers)
        _cut(places.bad, start.bad)
        self._answers: IO[bytes] = places.journal.open("ab")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._answers.close()
        if kind is KeyboardInterrupt:
            what = f"stopped: {self._rows} rows are kept in {self._places.journal}"
            print(f"{what}; the same command with --resume goes on", file=sys.stderr)

    def write(self, answers: Sequence[str], bad: Sequence[str]) -> None:
        """Append lines; they are with the system when this returns."""
        if bad:
            with self._places.bad.open("ab") as file:
                file.write(_joined(bad))
        self._answers.write(_joined(answers))
        self._answers.flush()
        self._rows += len(answers) + len(bad)


def _joined(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")


def _cut(path: Path, size: int) -> None:
    """Take off what stands behind a size."""
    if path.exists() and path.stat().st_size > size:
        os.truncate(path, size)
    if path.exists() and not size:
        path.unlink()
