"""A file mapped into memory, and its lines."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np

_BOM = b"\xef\xbb\xbf"


class MappedFile:
    """Bytes of a file by slice. Opened at first use, so that it can be sent to another process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._map: mmap.mmap | bytes | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_map": None}

    @property
    def data(self) -> mmap.mmap | bytes:
        """The whole content, not copied."""
        if self._map is None:
            with self.path.open("rb") as file:
                empty = self.path.stat().st_size == 0
                self._map = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map

    def __getitem__(self, span: slice) -> bytes:
        return self.data[span]

    def line_spans(self) -> np.ndarray:
        """int64 [lines, 2]: first byte of each line and of what follows it, a byte order mark left out."""
        data = self.data
        size = len(data)
        start = len(_BOM) if data[: len(_BOM)] == _BOM else 0
        if size == start:
            return np.zeros((0, 2), np.int64)
        ends = np.concatenate([_newlines(data, first) for first in range(0, size, 1 << 24)]) + 1
        if not len(ends) or ends[-1] != size:
            ends = np.append(ends, size)
        return np.stack([np.concatenate([[start], ends[:-1]]), ends], axis=1)


def _newlines(data: mmap.mmap | bytes, first: int) -> np.ndarray:
    chunk = np.frombuffer(data[first : first + (1 << 24)], np.uint8)
    return np.flatnonzero(chunk == ord("\n")).astype(np.int64) + first
