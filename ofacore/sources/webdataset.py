"""WebDataset shards: tar files whose members ``key.ext`` with the same key form one row ``{ext: content}``.

Shards are read at random by an index of their members, not as a stream.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ofacore.ground.excerpts import cut
from ofacore.protocols import RowError
from ofacore.sources.base import Row, SourceError
from ofacore.sources.jsonl import parsed
from ofacore.sources.mapped import MappedFile
from ofacore.sources.misnamed import refuse_foreign
from ofacore.sources.offsets import cached_index

_TEXT = ("txt", "text", "transcript", "cls", "cls2", "id", "index", "inx")
_ARRAYS = ("npy", "npz")
_PICKLES = ("pyd", "pkl", "pickle", "pth", "pt")
_BLOCK = 512
_CHUNK = 1 << 20
_CUT_NAME = re.compile(r"\d|.*[^\w.-]")
"""What the beginning of a column looks like where a dot of the key was taken for its end."""
_SAMPLED = 20
"""Rows whose members name the columns: a row may lack some."""


class WebDatasetSource:
    """Rows of one tar shard; ``__key__`` holds the row's key.

    ``.json`` is parsed, ``.txt .text .transcript .cls .cls2 .id .index .inx`` are text without the line break at its
    end, ``.npy`` is an array and ``.npz`` a dictionary of arrays, each of them compressed by gzip too (``.json.gz``);
    everything else is bytes.

    Raises:
        SourceError: No plain tar file, several of them in one, a link or a sparse file among its members, or members
            of one key that are not adjacent.
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
            if extension in row:
                problem = f"the member '{key}.{extension}' occurs twice"
                raise RowError(
                    f"{self.name(index)}: {problem}; write the shard again with one of them"
                )
            row["__key__"] = key
            row[extension] = _decoded(self._file[start : start + size], extension, self.name(index))
        return row

    def name(self, index: int) -> str:
        header, start = self._span(index)[0, 1:3].tolist()
        return f"{self._file.path}:{_split(_member_name(self._file, header, start))[0]}"

    @property
    def columns(self) -> tuple[str, ...]:
        rows = range(min(_SAMPLED, len(self)))
        return tuple(
            dict.fromkeys(
                ["__key__", *(name for index in rows for name in self._extensions(index))]
            )
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """A name that was probably cut at another dot than was meant, pickles, and an end that is missing."""
        found = (self._cut_name(), self._pickled(), self._open_end())
        return tuple(f"{self._file.path}: {note}" for note in found if note)

    def _cut_name(self) -> str:
        for column in self.columns:
            head, dot, _ = column.partition(".")
            if dot and _CUT_NAME.match(head):
                rule = "the key of a member ends at the first dot of its name"
                return f"{rule}, so there is a column '{column}'; name members 'key.ext'"
        return ""

    def _pickled(self) -> str:
        pickled = [column for column in self.columns if column.rpartition(".")[2] in _PICKLES]
        remedy = (
            "is pickled Python, which may run code and is not read; write it as .npy, .npz or .json"
        )
        return f"column '{pickled[0]}' {remedy}" if pickled else ""

    def _open_end(self) -> str:
        if not len(self._file.data) or not any(self._file[-_BLOCK:]):
            return ""
        return "the tar file has no end; if it was not closed, or is cut off, its last rows are missing"

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
    row, last, others = -1, None, 0
    seen: set[str] = set()
    refuse_foreign(path, "tar file", [b"ustar", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"])
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                key, extension = _split(member.name)
                if member.isdir() or not extension or key.rpartition("/")[2] in ("", "__meta__"):
                    others += not member.isdir()
                    continue
                _refuse_unplain(path, member)
                if key != last and key in seen:
                    raise SourceError(f"{path}: {_apart(key)}")
                row += key != last
                last = key
                seen.add(key)
                table.append((row, member.offset, member.offset_data, member.size))
            _refuse_second(path, archive.offset)
    except tarfile.TarError as error:
        remedy = "shards must not be compressed, unpack with gunzip"
        if "end of data" in str(error) or not path.stat().st_size:
            remedy = "it is cut off, fetch it again"
        raise SourceError(f"{path}: no plain tar file ({error}); {remedy}") from error
    if others and not table:
        raise SourceError(
            f"{path}: none of its {others} members is named 'key.ext', as members of a shard are"
        )
    return np.array(table, np.int64).reshape(-1, 4)


def _refuse_unplain(path: Path, member: tarfile.TarInfo) -> None:
    """Refuse a member whose content does not lie in the file as it is."""
    if member.issparse():
        problem = f"the member '{member.name}' is stored without its holes"
        raise SourceError(f"{path}: {problem}; write the shard again without tar's option --sparse")
    if not member.isfile():
        remedy = "write the shard with the files that links lead to (tar --dereference --hard-dereference)"
        raise SourceError(f"{path}: the member '{member.name}' is a link; {remedy}")


def _refuse_second(path: Path, end: int) -> None:
    """Refuse a file that goes on behind the end of the archive: its rows would be lost."""
    with path.open("rb") as file:
        file.seek(end)
        while chunk := file.read(_CHUNK):
            if any(chunk):
                problem = "another archive follows the first one, as 'cat' writes them"
                raise SourceError(
                    f"{path}: {problem}; keep the shards apart, or join them with tar --concatenate"
                )


def _apart(key: str) -> str:
    rule = "members of a sample are adjacent, and their key ends at the first dot of the name"
    return f"members of the key '{key}' lie apart: {rule}; write the shard sorted by name (tar --sort=name)"


def _member_name(file: MappedFile, header: int, data: int) -> str:
    """Name of the member whose headers (long names take several blocks) fill the bytes before its data."""
    blocks = file[header:data] + bytes(2 * _BLOCK)
    with tarfile.open(fileobj=io.BytesIO(blocks), mode="r:") as archive:
        member = archive.next()
    if member is None:
        raise RowError(
            f"{file.path}: no tar header at byte {header}; the file has changed, delete its index"
        )
    return member.name


def _split(name: str) -> tuple[str, str]:
    """``a/b.seg.png`` -> ``("a/b", "seg.png")``."""
    folder, _, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}/{stem}" if folder else stem, extension.lower()


def _decoded(content: bytes, extension: str, name: str) -> Any:
    kind = extension.rpartition(".")[2]
    try:
        inner = extension.removesuffix(".gz").rpartition(".")[2]
        if kind == "gz" and inner in ("json", *_TEXT, *_ARRAYS):
            content, kind = gzip.decompress(content), inner
        if kind == "json":
            return parsed(content)
        if kind in _ARRAYS:
            return _arrays(content)
        return _text(content) if kind in _TEXT else content
    except (ValueError, EOFError, OSError, zlib.error, zipfile.BadZipFile) as error:
        raise RowError(f"{name}, member '{extension}': {cut(str(error), 200)}") from error


def _text(content: bytes) -> str:
    """The text of a file, without the line break that editors put at its end."""
    return content.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")


def _arrays(content: bytes) -> Any:
    """The array of a ``.npy`` file, or the arrays of a ``.npz`` file by name."""
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"no array of numbers ({error})") from error
    return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
