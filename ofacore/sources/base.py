"""What every source of rows offers, and the error that opening one raises."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

from ofacore.ground.errors import UserError

Row = dict[str, Any]


class SourceError(UserError):
    """Data cannot be opened; the message names the file or object, what is wrong, and the way out."""


@runtime_checkable
class Source(Protocol):
    """Rows with random access. Picklable, and usable from several processes and threads."""

    def __len__(self) -> int:
        """Number of rows."""

    def __getitem__(self, index: int) -> Row:
        """Row ``index``, counted from 0: column name -> value, a new dictionary.

        Raises:
            RowError: This row cannot be read; other rows may be fine.
        """

    def name(self, index: int) -> str:
        """Where a user finds the row: ``file:line``."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, as far as they are known without reading everything."""


def notes_of(source: Source) -> tuple[str, ...]:
    """What a source says of how it is read, such as columns that it leaves out: its attribute ``notes``, if any."""
    return tuple(getattr(source, "notes", ()))


def folders_of(source: Source) -> tuple[str, ...]:
    """Folders that a source completes names of files with, in whatever column they stand: its attribute ``folders``."""
    return tuple(getattr(source, "folders", ()))


class ConcatSource:
    """Several sources, one behind the other."""

    def __init__(self, parts: Sequence[Source]) -> None:
        self._parts = tuple(parts)
        self._ends = list(accumulate(len(part) for part in self._parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Row:
        part, inner = self._place(index)
        return part[inner]

    def name(self, index: int) -> str:
        part, inner = self._place(index)
        return part.name(inner)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(column for part in self._parts for column in part.columns))

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of all sources."""
        return tuple(dict.fromkeys(note for part in self._parts for note in notes_of(part)))

    @property
    def folders(self) -> tuple[str, ...]:
        """Those of all sources."""
        return tuple(dict.fromkeys(place for part in self._parts for place in folders_of(part)))

    def _place(self, index: int) -> tuple[Source, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = bisect_right(self._ends, index)
        return self._parts[part], index - (self._ends[part - 1] if part else 0)
