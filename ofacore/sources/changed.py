"""Rows of a source, changed in one way: empty fields made absent, names of files completed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ofacore.ground.excerpts import excerpt
from ofacore.protocols import RowError
from ofacore.sources.base import Row, Source, folders_of, notes_of
from ofacore.sources.folder import nearest
from ofacore.sources.value_files import content_or_path, found_file, may_name_file

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""What the name of a folder says where its rows have no value."""


class ChangedRows:
    """The rows of a source, each changed by one function, which other processes can import."""

    def __init__(
        self, source: Source, change: Callable[[Row], Row], more: Sequence[str] = ()
    ) -> None:
        """The rows, the function, and the names of columns that it may add."""
        self._source, self._change, self._more = source, change, tuple(more)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Row:
        row = self._source[index]
        try:
            return self._change(row)
        except RowError as error:
            raise RowError(f"{self.name(index)}, {error}") from error

    def name(self, index: int) -> str:
        return self._source.name(index)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self._source.columns, *self._more)))

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the source."""
        return notes_of(self._source)

    @property
    def folders(self) -> tuple[str, ...]:
        """Those of the source."""
        return folders_of(self._source)


@dataclass(frozen=True)
class EmptyIsAbsent:
    """Makes the empty text None."""

    columns: frozenset[str] | None = None
    """Where; None: in every column."""

    def __call__(self, row: Row) -> Row:
        for key in row if self.columns is None else self.columns & row.keys():
            if row[key] == "" and isinstance(row[key], str):
                row[key] = None
        return row


@dataclass(frozen=True)
class FolderValues:
    """Adds the columns that folders tell, as in ``year=2024/part-0.parquet``; a column of the file goes first."""

    values: Mapping[str, str | None]

    def __call__(self, row: Row) -> Row:
        return {**self.values, **row}


def folder_values(path: Path) -> dict[str, str | None]:
    """What the folders above a file say of its rows: those whose names are ``column=value``."""
    pairs = [name.partition("=") for name in path.parts[:-1]]
    found = {
        column: unquote(value) for column, sign, value in pairs if sign and column.isidentifier()
    }
    return {column: None if value == _NO_VALUE else value for column, value in found.items()}


@dataclass(frozen=True)
class FilesBeside:
    """Completes names of files that lie beside a table; the working directory goes first."""

    folder: Path
    columns: frozenset[str]

    def __call__(self, row: Row) -> Row:
        for key in self.columns & row.keys():
            row[key] = self._completed(content_or_path(row[key]), key)
        return row

    def _completed(self, value: Any, key: str) -> Any:
        if isinstance(value, list):
            return [self._completed(part, key) for part in value]
        if not isinstance(value, str) or not may_name_file(value):
            return value
        path = found_file(value, ("", str(self.folder)))
        if path is None and not os.path.isdir(value):
            places = (
                ""
                if os.path.isabs(value)
                else f", neither below {os.getcwd()} nor beside the table"
            )
            close = nearest(self.folder / value)
            raise RowError(f"column '{key}': no file {excerpt(value, 200)}{places}{close}")
        return path or value
