"""JSON lines: one object a line. A ``.json`` file, an array of objects or one object after another, is read whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ofacore.ground.excerpts import excerpt, listing
from ofacore.protocols import RowError
from ofacore.sources.base import Row, SourceError
from ofacore.sources.mapped import MappedFile
from ofacore.sources.misnamed import refuse_foreign
from ofacore.sources.offsets import cached_index
from ofacore.sources.python import ListSource
from ofacore.sources.spelling import column_name, repeated

_SAMPLED = 20
_WIDE = "a JSON text over several lines, but each line must hold one whole object; set format: json"
_COMMA = "a comma follows the object, but each line must hold one whole object and nothing else; take the commas out"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    twice = repeated(name for name, _ in pairs)
    raise ValueError(f"the name {excerpt(twice)} occurs twice in one object")


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def parsed(content: bytes) -> Any:
    """What UTF-8 text of JSON holds.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
        ValueError: It is no JSON, holds a name twice in one object, or is nested too deep.
    """
    text = content.decode("utf-8")
    try:
        return _DECODER.decode(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("lists or objects are nested too deep") from None
    except ValueError as error:
        if "int_max_str_digits" in str(error):
            raise ValueError(
                "a whole number has too many digits; write it as text, in quotes"
            ) from None
        raise


class JsonLinesSource:
    """Rows of a JSON lines file. Blank lines are left out.

    Args:
        path: The file.
        encoding: Of the text; empty: UTF-8, or what a byte order mark says.

    Raises:
        SourceError: No text, or objects that go over several lines.
    """

    def __init__(self, path: Path, encoding: str = "") -> None:
        refuse_foreign(path)
        self._file = MappedFile(path, encoding)
        self._index = cached_index(path, f"jsonl{encoding}", lambda: _spans(self._file))
        if (
            len(self._index)
            and self._begins_wide()
            and not any(self._readable(min(_SAMPLED, len(self))))
        ):
            raise SourceError(f"{self.name(0)}: {_COMMA if self._ends_with_comma() else _WIDE}")

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, end, _ = self._index[index].tolist()
        line = self._file[start:end]
        try:
            row = parsed(line)
        except UnicodeDecodeError as error:
            reason = f"{error.reason} at byte {start + error.start}"
            remedy = "set encoding, such as cp1252, or save it as UTF-8"
            raise RowError(f"{self.name(index)}: not UTF-8 ({reason}); {remedy}") from error
        except ValueError as error:
            raise RowError(
                f"{self.name(index)}: not JSON: {error}{_line_hint(line, index, error)}"
            ) from error
        if not isinstance(row, dict):
            raise RowError(
                f"{self.name(index)}: a {type(row).__name__}, but each line must hold one object"
            )
        return row if line.isascii() else {column_name(key): value for key, value in row.items()}

    def name(self, index: int) -> str:
        return f"{self._file.path}:{self._index[index, 2]}"

    @property
    def columns(self) -> tuple[str, ...]:
        return columns_of(list(self._readable(min(_SAMPLED, len(self)))))

    def _readable(self, rows: int) -> Iterator[Row]:
        """Of the first rows those that can be read; who reads the others is told why not."""
        for index in range(rows):
            try:
                yield self[index]
            except RowError:
                continue

    def _begins_wide(self) -> bool:
        """Whether the first line opens what it does not close."""
        start, end = (int(number) for number in self._index[0][:2])
        line = self._file[start:end].strip()
        return line in (b"{", b"[") or (line[:1] in (b"{", b"[") and line.endswith(b","))

    def _ends_with_comma(self) -> bool:
        """Whether the first line is an object with a comma behind it."""
        start, end = (int(number) for number in self._index[0][:2])
        try:
            return isinstance(parsed(self._file[start:end].strip().removesuffix(b",")), dict)
        except ValueError:
            return False


def _line_hint(line: bytes, index: int, error: ValueError) -> str:
    """What to do about a line that is no JSON, where it shows."""
    rule = "; each line must hold one whole object"
    if line.lstrip().startswith(b"["):
        return f"{rule}; if the file is one array, set format: json" if index == 0 else ""
    if line.rstrip().endswith(b"},"):
        return f"{rule} and no comma behind it"
    if "Extra data" in str(error):
        return f"{rule}; if several stand in one, set format: json"
    return ""


def columns_of(rows: list[Row]) -> tuple[str, ...]:
    """Keys of all rows, in the order of their first occurrence."""
    return tuple(dict.fromkeys(str(key) for row in rows for key in row))


def json_rows(path: Path, encoding: str = "") -> ListSource:
    """Rows of a ``.json`` file: an array of objects, or objects one behind another, on as many lines as they like.

    Raises:
        SourceError: It holds anything else.
    """
    refuse_foreign(path)
    content = bytes(MappedFile(path, encoding)[:])
    try:
        found = _values(content)
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        remedy = "set encoding, such as cp1252, or save it as UTF-8"
        raise SourceError(f"{path}: not UTF-8 ({reason}); {remedy}") from error
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise SourceError(f"{path}: not JSON: {reason}") from error
    if not found:
        raise SourceError(f"{path}: the file is empty; an array of objects is expected")
    rows = found[0] if len(found) == 1 else found
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return ListSource(rows, str(path))
    raise SourceError(f"{path}: {_not_rows(rows)}")


def _values(content: bytes) -> list[Any]:
    """The JSON values of a text, one behind another."""
    text = content.decode("utf-8-sig").strip()
    found, place = [], 0
    while place < len(text):
        value, place = _DECODER.raw_decode(text, place)
        found.append(value)
        while place < len(text) and text[place] in " \t\r\n":
            place += 1
    return found


def _not_rows(value: Any) -> str:
    if isinstance(value, list):
        wrong = next(row for row in value if not isinstance(row, dict))
        return f"an array of objects is expected, [{{...}}, {{...}}], but it holds {excerpt(wrong)}"
    if not isinstance(value, dict):
        return f"an array of objects is expected, [{{...}}, {{...}}], not {excerpt(value)}"
    if _holds_columns(value):
        remedy = "write it by rows, as pandas does with orient='records'"
        return f"columns ({listing(value)}), but an array of objects is expected, [{{...}}, {{...}}]; {remedy}"
    lists = [name for name, part in value.items() if isinstance(part, list)]
    remedy = (
        f"save what its name '{lists[0]}' holds"
        if lists
        else "if the object is the only row, set format: jsonl"
    )
    return f"one object with {listing(value)}, but an array of objects is expected, [{{...}}, {{...}}]; {remedy}"


def _holds_columns(value: dict[str, Any]) -> bool:
    """Whether an object holds a table by columns, as data frames are written unless they are told otherwise."""
    if {"columns", "data"} <= value.keys() and isinstance(value["columns"], list):
        return True
    parts = list(value.values())
    if len(parts) > 1 and all(isinstance(part, list) for part in parts):
        return len({len(part) for part in parts}) == 1 and not all(
            _are_rows(part) for part in parts
        )
    return bool(parts) and all(isinstance(part, dict) and "0" in part for part in parts)


def _are_rows(part: list[Any]) -> bool:
    return all(isinstance(row, dict) for row in part)


def _spans(file: MappedFile) -> np.ndarray:
    spans = file.line_spans()
    table = np.concatenate([spans, np.arange(1, len(spans) + 1, dtype=np.int64)[:, None]], axis=1)
    keep = [
        not file[start : min(end, start + 1)].isspace() or not file[start:end].isspace()
        for start, end in spans.tolist()
    ]
    return table[keep] if keep else table
