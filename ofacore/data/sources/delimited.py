"""CSV and TSV files. Quoted fields may hold delimiters, quotes and line breaks; a field may be of any size."""

from __future__ import annotations

import csv
import io
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ofacore.data.sources.base import Row, SourceError
from ofacore.data.sources.mapped import MappedFile
from ofacore.data.sources.offsets import cached_index
from ofacore.protocols import RowError

_QUOTE = b'"'


class DelimitedSource:
    """Rows of a CSV or TSV file; all values are strings.

    Args:
        path: The file, UTF-8.
        delimiter: One ASCII character.
        names: Names of the columns; empty: the first record names them.

    Raises:
        SourceError: No or bad names of columns, or a quote that never closes.
    """

    def __init__(self, path: Path, delimiter: str, names: Sequence[str] = ()) -> None:
        self._file, self._delimiter = MappedFile(path), delimiter
        kind = "csv" if delimiter == "," else f"sep{ord(delimiter)}"
        self._index = cached_index(path, kind, lambda: record_spans(self._file, delimiter.encode()))
        self._first = 0 if names else 1
        if not names and not len(self._index):
            raise SourceError(f"{path}: the file is empty; its first line must name the columns")
        self.columns: tuple[str, ...] = tuple(names) if names else self._header()
        self._check_columns()

    def __len__(self) -> int:
        return len(self._index) - self._first

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        fields = self._fields(index + self._first)
        if len(fields) != len(self.columns):
            wanted = f"{len(self.columns)} columns ({', '.join(self.columns)})"
            raise RowError(f"{self.name(index)}: {len(fields)} fields, but the file has {wanted}")
        return dict(zip(self.columns, fields, strict=True))

    def name(self, index: int) -> str:
        return f"{self._file.path}:{self._index[index + self._first, 2]}"

    def _header(self) -> tuple[str, ...]:
        try:
            return tuple(self._fields(0))
        except RowError as error:
            raise SourceError(str(error)) from error

    def _check_columns(self) -> None:
        if any("\r" in name and "\n" not in name for name in self.columns):
            problem = "its lines end with a carriage return alone; save it with line ends of Unix or Windows"
            raise SourceError(f"{self._file.path}:1: {problem}")
        if any("\0" in name for name in self.columns):
            raise SourceError(f"{self._file.path}: no text file, it holds zero bytes; set format, or save it as UTF-8")
        bad = [name for name in self.columns if not name.strip() or self.columns.count(name) > 1]
        if bad:
            problem = f"column name {bad[0]!r} is empty or occurs twice in {list(self.columns)}"
            raise SourceError(f"{self._file.path}:1: {problem}; if the first line is data, set header: false and names")

    def _fields(self, record: int) -> list[str]:
        start, end, line = (int(number) for number in self._index[record][:3])
        try:
            text = self._file[start:end].decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            raise RowError(
                f"{self._file.path}:{line}: not UTF-8 ({error.reason} at byte {start + error.start}); save it as UTF-8"
            ) from error
        if '"' not in text:
            return text.split(self._delimiter)
        if len(text) >= csv.field_size_limit():
            csv.field_size_limit(len(text) + 1)
        try:
            return next(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter))
        except csv.Error as error:
            raise RowError(f"{self._file.path}:{line}: {error}") from error


def record_spans(file: MappedFile, delimiter: bytes) -> np.ndarray:
    """int64 [records, 3]: first byte, end, number of the first line. Empty lines are left out.

    Raises:
        SourceError: A quoted field is still open at the end of the file.
    """
    spans = file.line_spans()
    lines = np.arange(1, len(spans) + 1, dtype=np.int64)[:, None]
    data = file.data
    table = np.concatenate([spans, lines], axis=1)
    if data.find(_QUOTE) >= 0:
        table = np.array(list(_joined(file, data, table, delimiter)), np.int64).reshape(-1, 3)
    return table[[not _is_empty(data, start, end) for start, end, _ in table.tolist()]]


def _is_empty(data: mmap.mmap | bytes, start: int, end: int) -> bool:
    return end - start <= 2 and not data[start:end].strip(b"\r\n")


def _joined(
    file: MappedFile, data: mmap.mmap | bytes, lines: np.ndarray, delimiter: bytes
) -> Iterator[tuple[int, int, int]]:
    """Lines joined to records where a line break stands inside quotes."""
    first: tuple[int, int] | None = None
    for start, end, line in lines.tolist():
        text = data[start:end]
        inside = first is not None
        open_after = ends_inside(text, delimiter, inside) if _QUOTE in text else inside
        if open_after:
            first = first or (start, line)
        else:
            yield (start, end, line) if first is None else (first[0], end, first[1])
            first = None
    if first is not None:
        raise SourceError(f"{file.path}:{first[1]}: a quoted field begins here and never ends; write a quote inside a "
                          'quoted field as ""')  # fmt: skip


def ends_inside(line: bytes, delimiter: bytes, inside: bool) -> bool:
    """Whether a quoted field is open at the end of a line. A quote opens a field only as its first character."""
    position = 0
    while True:
        if not inside and line[position : position + 1] == _QUOTE:
            inside, position = True, position + 1
        if inside:
            quote = line.find(_QUOTE, position)
            if quote < 0:
                return True
            position = quote + 1
            if line[position : position + 1] == _QUOTE:
                position += 1
                continue
            inside = False
        position = line.find(delimiter, position) + 1
        if position == 0:
            return False
