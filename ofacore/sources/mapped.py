"""A file mapped into memory, and its lines. Text in another encoding than UTF-8 is held in memory as UTF-8."""

from __future__ import annotations

import codecs
import mmap
from pathlib import Path

import numpy as np

from ofacore.sources.base import SourceError

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks that tell an encoding; the longer ones first, as they begin like the shorter ones."""
_UTF8 = ("utf-8", "utf-8-sig", "ascii")
_LARGEST = 1 << 30
"""Bytes of a file that is decoded into memory."""


class MappedFile:
    """Bytes of a file by slice, as UTF-8. Opened at first use, so that it can be sent to another process.

    Args:
        path: The file.
        encoding: Of its text; empty: UTF-8, or UTF-16 and UTF-32 where a byte order mark says so.
    """

    def __init__(self, path: Path, encoding: str = "") -> None:
        self.path, self._encoding = path, encoding
        self._map: mmap.mmap | bytes | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_encoding": self._encoding, "_map": None}

    @property
    def data(self) -> mmap.mmap | bytes:
        """The whole content, not copied.

        Raises:
            SourceError: It is not in the encoding that was given, or too large to be decoded into memory.
        """
        if self._map is None:
            encoding = codecs.lookup(self._encoding or self._marked()).name
            self._map = self._mapped() if encoding in _UTF8 else self._decoded(encoding)
        return self._map

    def __getitem__(self, span: slice) -> bytes:
        return self.data[span]

    def line_spans(self) -> np.ndarray:
        """int64 [lines, 2]: first byte of each line and of what follows it, a byte order mark left out.

        Lines end with a line feed; in a file that has none, with a carriage return.
        """
        data = self.data
        size = len(data)
        start = len(codecs.BOM_UTF8) if data[: len(codecs.BOM_UTF8)] == codecs.BOM_UTF8 else 0
        if size == start:
            return np.zeros((0, 2), np.int64)
        mark = b"\n" if data.find(b"\n") >= 0 else b"\r"
        chunks = [_positions(data, first, mark) for first in range(0, size, 1 << 24)]
        ends = np.concatenate(chunks) + 1
        if not len(ends) or ends[-1] != size:
            ends = np.append(ends, size)
        return np.stack([np.concatenate([[start], ends[:-1]]), ends], axis=1)

    def _marked(self) -> str:
        """The encoding that the first bytes tell."""
        with self.path.open("rb") as file:
            head = file.read(4)
        return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), "utf-8")

    def _mapped(self) -> mmap.mmap | bytes:
        with self.path.open("rb") as file:
            if self.path.stat().st_size == 0:
                return b""
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _decoded(self, encoding: str) -> bytes:
        size = self.path.stat().st_size
        if size > _LARGEST:
            problem = f"{size >> 20} MB of {encoding} would have to be held in memory"
            raise SourceError(f"{self.path}: {problem}; save it as UTF-8")
        content = self.path.read_bytes()
        try:
            return content.decode(encoding).encode("utf-8")
        except UnicodeError as error:
            start = getattr(error, "start", 0)
            line = content.count(b"\n", 0, start) + 1
            reason = f"{getattr(error, 'reason', error)} at byte {start}"
            raise SourceError(
                f"{self.path}:{line}: not {encoding} ({reason}); set encoding to another, or save it as UTF-8"
            ) from error


def _positions(data: mmap.mmap | bytes, first: int, mark: bytes) -> np.ndarray:
    chunk = np.frombuffer(data[first : first + (1 << 24)], np.uint8)
    return np.flatnonzero(chunk == ord(mark)).astype(np.int64) + first
