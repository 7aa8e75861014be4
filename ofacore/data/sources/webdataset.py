"""WebDataset shards: tar files whose members ``key.ext`` with the same key form one row ``{ext: content}``.

Shards are read at random by an index of their members, not as a stream.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from ofacore.data.sources.base import Row, SourceError
from ofacore.data.sources.mapped import MappedFile
from ofacore.data.sources.offsets import cached_index
from ofacore.protocols import RowError

_TEXT = ("txt", "text", "cls", "id", "transcript")
_BLOCK = 512
_SAMPLED = 20
"""Rows whose members name the columns: a row may lack some."""


class WebDatasetSource:
    """Rows of one tar shard; ``__key__`` holds the row's key.

    ``.json`` is parsed, ``.txt .text .transcript .cls .id`` are text, everything else is bytes.
    """

    def __init__(self, path: Path) -> None:
        self._file = MappedFile(path)
        self._members = cached_index(path, "tar", lambda: _member_table(path))
        self._starts = np.flatnonzero(np.diff(self._members[:, 0], prepend=-1))

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Row:
        row: Row = {}
        for _, header, start, size in self._span(index).tolist():
            key, extension = _split(_member_name(self._file, header, start))
            row["__key__"] = key
            row[extension] = _decoded(self._file[start : start + size], extension, self.name(index))
        return row

    def name(self, index: int) -> str:
        header, start = self._span(index)[0, 1:3].tolist()
        return f"{self._file.path}:{_split(_member_name(self._file, header, start))[0]}"

    @property
    def columns(self) -> tuple[str, ...]:
        rows = range(min(_SAMPLED, len(self)))
        return tuple(dict.fromkeys(["__key__", *(name for index in rows for name in self._extensions(index))]))

    def _extensions(self, index: int) -> list[str]:
        headers = self._span(index)[:, 1:3].tolist()
        return [_split(_member_name(self._file, header, start))[1] for header, start in headers]

    def _span(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(index)
        end = self._starts[index + 1] if index + 1 < len(self) else len(self._members)
        return self._members[self._starts[index] : end]


def _member_table(path: Path) -> np.ndarray:
    """int64 [members, 4]: row, offset of the header, offset of the data, size; rows are runs of equal keys."""
    table: list[tuple[int, int, int, int]] = []
    row, last = -1, None
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                key, _ = _split(member.name)
                if not member.isfile() or Path(key).name in ("", "__meta__"):
                    continue
                row += key != last
                last = key
                table.append((row, member.offset, member.offset_data, member.size))
    except tarfile.TarError as error:
        cut = "end of data" in str(error)
        remedy = "it is cut off, fetch it again" if cut else "shards must not be compressed, unpack with gunzip"
        raise SourceError(f"{path}: no plain tar file ({error}); {remedy}") from error
    return np.array(table, np.int64).reshape(-1, 4)


def _member_name(file: MappedFile, header: int, data: int) -> str:
    """Name of the member whose headers (long names take several blocks) fill the bytes before its data."""
    blocks = file[header:data] + bytes(2 * _BLOCK)
    with tarfile.open(fileobj=io.BytesIO(blocks), mode="r:") as archive:
        member = archive.next()
    if member is None:
        raise RowError(f"{file.path}: no tar header at byte {header}; the file has changed, delete its index")
    return member.name


def _split(name: str) -> tuple[str, str]:
    """``a/b.seg.png`` -> ``("a/b", "seg.png")``."""
    folder, _, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}/{stem}" if folder else stem, extension.lower()


def _decoded(content: bytes, extension: str, name: str) -> Any:
    kind = extension.rpartition(".")[2]
    try:
        if kind == "json":
            return json.loads(content)
        return content.decode("utf-8") if kind in _TEXT else content
    except ValueError as error:
        raise RowError(f"{name}, member '{extension}': {error}") from error
