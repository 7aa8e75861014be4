"""CSV and TSV files. A field may be of any size; with quoting it may hold delimiters, quotes and line breaks."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from ofacore.ground.excerpts import excerpt, listing
from ofacore.protocols import RowError
from ofacore.sources.base import Row, SourceError
from ofacore.sources.mapped import MappedFile
from ofacore.sources.misnamed import refuse_foreign
from ofacore.sources.offsets import cached_index
from ofacore.sources.records import record_spans
from ofacore.sources.spelling import column_name, repeated

_SEPARATOR_LINE = re.compile(rb'(?:\xef\xbb\xbf)?"?sep=([\x00-\x7f])"?\r?\n')
"""First line of files that spreadsheets write: the character between fields."""
_SAMPLED = 100
_BLANK_RULE = (
    "a quotation mark behind a blank is a letter and quotes nothing; "
    "take out the blanks behind the separators"
)


class DelimitedSource:
    """Rows of a CSV or TSV file; all values are strings.

    Columns without a name are left out. Empty fields behind the last column are passed over.

    Args:
        path: The file.
        delimiter: One ASCII character; a first line ``sep=;`` changes it, unless ``fixed``.
        names: Names of the columns; empty: the first record names them.
        quoting: A field may stand in double quotes, and then hold delimiters and line breaks. False: a quotation mark
            is a letter like any other.
        encoding: Of the text; empty: UTF-8, or what a byte order mark says.
        fixed: The delimiter was asked for.

    Raises:
        SourceError: No text, no or bad names of columns, or a quote that never closes.
    """

    def __init__(
        self,
        path: Path,
        delimiter: str,
        names: Sequence[str] = (),
        *,
        quoting: bool = True,
        encoding: str = "",
        fixed: bool = False,
    ) -> None:
        refuse_foreign(path)
        self._file, self._quoting = MappedFile(path, encoding), quoting
        separator = _SEPARATOR_LINE.match(self._file[:16])
        if separator and not fixed:
            delimiter = separator[1].decode()
        self._delimiter = delimiter
        mode = "quoted" if quoting else "plain"
        skipped = separator.end() if separator else 0
        kind = f"rows{ord(delimiter)}{mode}{encoding}"
        self._index = cached_index(
            path, kind, lambda: record_spans(self._file, delimiter.encode(), quoting, skipped)
        )
        self._first = 0 if names else 1
        if not names and not len(self._index):
            raise SourceError(f"{path}: the file is empty; its first line must name the columns")
        header = list(names) if names else self._header()
        self._names, self._width = header, len(header)
        self._kept = [place for place, name in enumerate(header) if name.strip()]
        self.columns: tuple[str, ...] = tuple(header[place] for place in self._kept)
        self._check_columns(header)

    def __len__(self) -> int:
        return len(self._index) - self._first

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        fields = self._fields(index + self._first)
        if len(fields) != self._width:
            fields = self._fitted(fields, index)
        if self._first and fields == self._names and self._width > 1:
            raise RowError(f"{self.name(index)}: the line repeats the header; take it out")
        if len(self._kept) != self._width:
            fields = [fields[place] for place in self._kept]
        return dict(zip(self.columns, fields, strict=True))

    def name(self, index: int) -> str:
        return f"{self._file.path}:{self._index[index + self._first, 2]}"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the file is read."""
        found = []
        nameless = self._width - len(self._kept)
        if nameless and self._first:
            what = (
                "a column without a name is"
                if nameless == 1
                else f"{nameless} columns without names are"
            )
            found.append(f"{self._file.path}: {what} left out")
        if not self._quoting and self._looks_quoted():
            remedy = "if they are quoting, set quoting: csv"
            found.append(
                f"{self._file.path}: quotation marks around fields are kept as letters; {remedy}"
            )
        if self._quoting and any(map(_quoted_behind_blank, self._sampled())):
            found.append(f"{self._file.path}: {_BLANK_RULE}")
        return tuple(found)

    def _looks_quoted(self) -> bool:
        """Whether one of the first rows has a field that begins and ends with a quotation mark."""
        rows = self._sampled()
        return any(
            len(field) > 1 and field[0] == field[-1] == '"' for fields in rows for field in fields
        )

    def _sampled(self) -> Iterator[list[str]]:
        """Fields of the first records that can be read."""
        for record in range(min(_SAMPLED, len(self._index))):
            try:
                yield self._fields(record)
            except RowError:
                continue

    def _short_header(self) -> int:
        """Number of fields of the first rows, where it is the same for all and more than the first line names."""
        sizes = (
            {len(fields) for fields in islice(self._sampled(), 1, None)} if self._first else set()
        )
        return sizes.pop() if len(sizes) == 1 and min(sizes) > self._width else 0

    def _header(self) -> list[str]:
        try:
            return [column_name(name.removeprefix("\ufeff")) for name in self._fields(0)]
        except RowError as error:
            raise SourceError(str(error)) from error

    def _check_columns(self, header: Sequence[str]) -> None:
        path = self._file.path
        if any("\r" in name and "\n" not in name for name in header):
            problem = "some of its lines end with a carriage return alone"
            raise SourceError(f"{path}:1: {problem}; save it with line ends of Unix or Windows")
        twice = repeated(self.columns)
        if twice is None and self.columns:
            return
        problem = (
            "no column has a name"
            if twice is None
            else f"column name {excerpt(twice)} occurs twice"
        )
        remedy = "if the first line is data, set header: false and names"
        raise SourceError(f"{path}:1: {problem} in {excerpt(list(header), 200)}; {remedy}")

    def _fitted(self, fields: list[str], index: int) -> list[str]:
        """Fields of a row that has too many or too few, where nothing is lost by it.

        Raises:
            RowError: It is not clear what belongs where.
        """
        if not any(fields[self._width :]) and len(fields) > self._width:
            return fields[: self._width]
        if len(fields) < self._width and len(fields) > max(self._kept):
            return fields + [""] * (self._width - len(fields))
        remedy = self._way_out(fields)
        wanted = f"{self._width} columns ({listing(self.columns)})"
        raise RowError(
            f"{self.name(index)}: {len(fields)} fields, but the file has {wanted}{remedy}"
        )

    def _way_out(self, fields: Sequence[str]) -> str:
        if not self._quoting and any('"' in field for field in fields):
            return "; if its fields are quoted, set quoting: csv"
        if self._quoting and _quoted_behind_blank(fields):
            return f"; {_BLANK_RULE}"
        if size := self._short_header():
            rule = "take out what stands above the names, or name every column; one with an empty name is left out"
            return f"; the first rows all have {size}: {rule}"
        return ""

    def _fields(self, record: int) -> list[str]:
        start, end, line = self._index[record].tolist()
        try:
            text = self._file[start:end].decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as error:
            reason = f"{error.reason} at byte {start + error.start}"
            remedy = "set encoding, such as cp1252, or save it as UTF-8"
            raise RowError(f"{self._file.path}:{line}: not UTF-8 ({reason}); {remedy}") from error
        if "\0" in text:
            remedy = "set encoding, such as utf-16-le, or write it again"
            raise RowError(f"{self._file.path}:{line}: no text, it holds zero bytes; {remedy}")
        if not self._quoting or '"' not in text:
            return text.split(self._delimiter)
        if len(text) >= csv.field_size_limit():
            csv.field_size_limit(len(text) + 1)
        try:
            return next(
                csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter, strict=True)
            )
        except csv.Error as error:
            raise RowError(f"{self._file.path}:{line}: {_quoting_problem(text, error)}") from error


def _quoted_behind_blank(fields: Sequence[str]) -> bool:
    """Whether a field has a quotation mark behind blanks, where it quotes nothing."""
    return any(field[:1] == " " and field.lstrip(" ")[:1] == '"' for field in fields)


def _quoting_problem(text: str, error: csv.Error) -> str:
    if "expected after" not in str(error):
        return str(error)
    lines = text.count("\n")
    where = f"begins here, closes {lines} lines below" if lines else "closes"
    remedy = 'write a quote inside a quoted field as "", or set quoting: none'
    return f"a quoted field {where} and is followed by more text; {remedy}"
