"""Index files: where each record of a large file begins, found once and mapped into memory afterwards.

An index lies in the cache folder. It is valid as long as size and modification time of the file are those it was made
for.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ofacore.ground.folders import cache_root

MIN_BYTES = 1 << 18
"""Files below this size are indexed again each time; it takes no longer than reading an index."""
_VERSION = 2
"""Of what the index files hold; raised whenever the same file would be indexed otherwise."""


def cached_index(
    path: Path, kind: str, build: Callable[[], np.ndarray], min_bytes: int = MIN_BYTES
) -> np.ndarray:
    """The index of a file, read from its index file where that is still valid.

    Args:
        path: The indexed file.
        kind: What the index depends on besides the file, such as the dialect; part of the index file's name.
        build: Makes the index: int64 [records, k].
        min_bytes: Smaller files get no index file.
    """
    state = path.stat()
    if state.st_size < min_bytes:
        return build()
    stamp = [_VERSION, state.st_size, state.st_mtime_ns]
    place = _place(path, kind)
    index = _read(place, stamp)
    if index is None:
        index = build()
        _write(place, stamp, index)
    return index


def _place(path: Path, kind: str) -> Path:
    where = hashlib.sha256(str(path.resolve().parent).encode()).hexdigest()[:16]
    return cache_root() / "index" / where / f"{path.name}.{kind}.index.npy"


def _read(place: Path, stamp: list[int]) -> np.ndarray | None:
    """The stored index, or None if there is none for this state of the file."""
    try:
        stored = np.load(place, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    if (
        stored.ndim != 2
        or not len(stored)
        or stored[0].tolist() != (stamp + [0] * stored.shape[1])[: stored.shape[1]]
    ):
        return None
    return stored[1:]


def _write(place: Path, stamp: list[int], index: np.ndarray) -> None:
    """Store an index atomically; where the folder is not writable the next opening makes it again."""
    head = np.zeros((1, index.shape[1]), np.int64)
    head[0, : len(stamp)] = stamp[: index.shape[1]]
    scratch = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(prefix=place.name, dir=place.parent)
        with os.fdopen(handle, "wb") as file:
            np.save(file, np.concatenate([head, index]), allow_pickle=False)
        os.replace(scratch, place)
    except OSError:
        if scratch is not None:
            Path(scratch).unlink(missing_ok=True)
