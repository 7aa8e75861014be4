"""Values that are files: CSV, TSV, JSON, SQLite; as paths or as their content."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from ofa_modality_structured.database import MAGIC, shown
from ofa_modality_structured.tables import Table, as_table
from ofacore.protocols import RowError

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".txt": ","}
_DATABASES = (".sqlite", ".sqlite3", ".db")
_TAKEN = "a CSV (.csv, .tsv), JSON (.json) or SQLite file (.sqlite, .db)"


def content_of(value: str | Path | bytes, column: str, folder: str = "") -> Path | bytes:
    """The file that a value names, or the content that it is.

    A relative path is looked for in the working directory, then in ``folder``.

    Raises:
        RowError: There is no such file.
    """
    if isinstance(value, bytes):
        return value
    path = found_file(value, folder)
    if path is None:
        raise RowError(
            f"column '{column}': there is no file {str(value)!r:.120}; give the path of {_TAKEN}, "
            "or the value itself"
        )
    return path


def found_file(value: str | Path, folder: str = "") -> Path | None:
    """The file of that path, looked for in the working directory, then in ``folder``; None where there is none."""
    places = [Path(value), Path(folder, value)]
    return next((place for place in places if _is_file(place)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_database(source: Path | bytes, column: str) -> bool:
    """Whether a file is an SQLite database, told by how it begins.

    Raises:
        RowError: Its name says that it is one, and it is none; or it cannot be read.
    """
    begin = source[: len(MAGIC)] if isinstance(source, bytes) else _beginning(source, column)
    if begin == MAGIC:
        return True
    if isinstance(source, Path) and source.suffix.lower() in _DATABASES:
        raise RowError(f"column '{column}': {source} is no SQLite database; give {_TAKEN}")
    return False


def read_table_file(source: Path | bytes, column: str) -> Table:
    """The table of a CSV or JSON file in UTF-8; the fields of CSV are texts.

    Of a content, which has no name, the first line tells whether commas or tabs part the fields.

    Raises:
        RowError: Another kind of file, an empty one, other characters, rows of unequal lengths.
    """
    text = _text(source, column)
    suffix = source.suffix.lower() if isinstance(source, Path) else _suffix_of(text)
    if suffix == ".json" or text.lstrip()[:1] in ("[", "{"):
        return as_table(from_json(text, column), column)
    if suffix not in _DELIMITERS:
        raise RowError(f"column '{column}': {shown(source)} is no table; give {_TAKEN}")
    return _of_csv(text, _DELIMITERS[suffix], column)


def from_json(text: str, column: str) -> Any:
    """The value of a JSON text.

    Raises:
        RowError: It is no JSON.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(
            f"column '{column}': {text!r:.60} is no JSON ({error}); correct it, or give the value itself"
        ) from None


def _of_csv(text: str, delimiter: str, column: str) -> Table:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if row and rows and len(row) != len(rows[0]):
                raise RowError(
                    f"column '{column}': line {reader.line_num} of the CSV has {len(row)} fields, its "
                    f"head {len(rows[0])}; quote fields that hold the separator {delimiter!r}"
                )
            rows += [row] if row else []
    except csv.Error as error:
        raise RowError(
            f"column '{column}': line {reader.line_num} is no CSV ({error}); correct its quotes, or give JSON"
        ) from None
    if not rows:
        raise RowError(f"column '{column}': the CSV is empty; give a head and rows")
    return as_table(rows, column)


def _suffix_of(text: str) -> str:
    """How a file with this content would be called."""
    head = text.lstrip("\r\n").partition("\n")[0]
    return ".tsv" if head.count("\t") > head.count(",") else ".csv"


def _beginning(path: Path, column: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC))
    except OSError as error:
        raise RowError(f"column '{column}': {path} cannot be read: {error.strerror}") from None


def _text(source: Path | bytes, column: str) -> str:
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        problem = f"{shown(source)} cannot be read: {error.strerror}"
        raise RowError(f"column '{column}': {problem}") from None
    except UnicodeDecodeError as error:
        raise RowError(
            f"column '{column}': {shown(source)} is no text in UTF-8 (byte {error.start}); give {_TAKEN}"
        ) from None
