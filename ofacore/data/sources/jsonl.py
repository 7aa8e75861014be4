"""JSON lines: one object a line. A ``.json`` file with an array of objects is read whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ofacore.data.sources.base import Row, SourceError
from ofacore.data.sources.mapped import MappedFile
from ofacore.data.sources.offsets import cached_index
from ofacore.data.sources.python import ListSource
from ofacore.protocols import RowError

_SAMPLED = 20


class JsonLinesSource:
    """Rows of a JSON lines file, UTF-8. Blank lines are left out."""

    def __init__(self, path: Path) -> None:
        self._file = MappedFile(path)
        self._index = cached_index(path, "jsonl", lambda: _spans(self._file))

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, end = (int(number) for number in self._index[index][:2])
        line = self._file[start:end]
        try:
            row = json.loads(line)
        except UnicodeDecodeError as error:
            problem = f"not UTF-8 ({error.reason} at byte {start + error.start}); save it as UTF-8"
            raise RowError(f"{self.name(index)}: {problem}") from error
        except ValueError as error:
            hint = "; each line must hold one whole object; if the file is one array, set format: json"
            array = index == 0 and line.lstrip().startswith(b"[")
            raise RowError(f"{self.name(index)}: not JSON: {error}{hint if array else ''}") from error
        if not isinstance(row, dict):
            raise RowError(f"{self.name(index)}: a {type(row).__name__}, but each line must hold one object")
        return row

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


def columns_of(rows: list[Row]) -> tuple[str, ...]:
    """Keys of all rows, in the order of their first occurrence."""
    return tuple(dict.fromkeys(str(key) for row in rows for key in row))


def json_array(path: Path) -> ListSource:
    """Rows of a ``.json`` file.

    Raises:
        SourceError: It holds anything but an array of objects.
    """
    try:
        content: Any = json.loads(path.read_bytes())
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except ValueError as error:
        if not path.stat().st_size:
            raise SourceError(f"{path}: the file is empty; an array of objects is expected") from error
        raise SourceError(f"{path}: not JSON: {error}; if each line is one object, set format: jsonl") from error
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise SourceError(f"{path}: an array of objects is expected, [{{...}}, {{...}}]")
    return ListSource(content, str(path))


def _spans(file: MappedFile) -> np.ndarray:
    spans = file.line_spans()
    table = np.concatenate([spans, np.arange(1, len(spans) + 1, dtype=np.int64)[:, None]], axis=1)
    keep = [
        not file[start : min(end, start + 1)].isspace() or not file[start:end].isspace()
        for start, end in spans.tolist()
    ]
    return table[keep] if keep else table
