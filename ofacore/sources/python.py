"""Rows that a program holds: a list, a map-style dataset of torch or Hugging Face, or an iterable to be replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any

from ofacore.protocols import RowError
from ofacore.sources.base import Row
from ofacore.sources.spelling import column_name

_SAMPLED = 20


class ListSource:
    """A list of rows."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], label: str = "rows") -> None:
        self._rows, self._label = rows, label

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return as_row(self._rows[index], self.name(index))

    def name(self, index: int) -> str:
        return f"{self._label}[{index}]"

    @property
    def columns(self) -> tuple[str, ...]:
        known = getattr(self._rows, "column_names", None)
        if known is not None:
            return tuple(map(column_name, known))
        rows = [self._rows[index] for index in range(min(_SAMPLED, len(self)))]
        return tuple(
            dict.fromkeys(
                column_name(key) for row in rows if isinstance(row, Mapping) for key in row
            )
        )


def as_row(value: Any, name: str) -> Row:
    """A new dictionary of a row.

    Raises:
        RowError: It is no mapping of column names to values.
    """
    if not isinstance(value, Mapping):
        raise RowError(
            f"{name}: a {type(value).__name__}, but a row is a dictionary: column name -> value"
        )
    return {column_name(key): item for key, item in value.items()}


class ReplayedRows:
    """An iterable without random access, accepted at a stated price.

    The cost: every row that was read is kept in memory, and after a resume, and in every worker process, the
    iterable is read again from its start up to the row that is needed. Prefer a file or a list.

    Args:
        start: Returns a new iterator that always gives the same rows in the same order; a top-level function if
            loader workers are used.
        length: Number of rows.
    """

    def __init__(self, start: Callable[[], Iterable[Mapping[str, Any]]], length: int) -> None:
        self._start, self._length = start, length
        self._reset()

    def _reset(self) -> None:
        self._rows: list[Row] = []
        self._reader: Iterator[Mapping[str, Any]] | None = None
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_start": self._start, "_length": self._length}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < self._length:
            raise IndexError(index)
        with self._lock:  # training reads ahead in a thread while validation may read the same rows
            self._read_to(index)
        return dict(self._rows[index])

    def _read_to(self, index: int) -> None:
        self._reader = iter(self._start()) if self._reader is None else self._reader
        while len(self._rows) <= index:
            row = next(self._reader, None)
            if row is None:
                raise RowError(
                    f"{self.name(index)}: the iterable ended after {len(self._rows)} of {self._length} rows"
                )
            self._rows.append(as_row(row, self.name(len(self._rows))))

    def name(self, index: int) -> str:
        return f"rows[{index}]"

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self[0]) if self._length else ()
