"""Rows held out of a data set that comes in one piece, chosen by a hash of what they hold."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ofacore.protocols import RowError
from ofacore.sources.base import Row, Source, folders_of, notes_of

_WHOLE = float(2**64)
_PARTS = 2
"""Last parts of the path of a file that count, so that a folder may be moved."""


class ChosenRows:
    """Rows of a source by their numbers, int64 [rows]."""

    def __init__(self, source: Source, numbers: np.ndarray) -> None:
        self._source, self._numbers = source, np.asarray(numbers, np.int64)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> Row:
        return self._source[self._number(index)]

    def name(self, index: int) -> str:
        return self._source.name(self._number(index))

    @property
    def columns(self) -> tuple[str, ...]:
        return self._source.columns

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the source."""
        return notes_of(self._source)

    def _number(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return int(self._numbers[index])


def held_out(
    source: Source, shares: Mapping[str, float], paths: Collection[str] = ()
) -> dict[str, Source]:
    """Splits of a source: ``train``, and one for each share.

    A row's split hangs on what it holds alone: rows that are alike are on one side, and rows that are added later
    move no other. Every row is read once.

    Args:
        source: All rows.
        shares: Split -> share of the rows; of few rows one goes to a split that would stay empty.
        paths: Columns that name files, of whose paths the last two parts count.
    """
    folders = folders_of(source)
    numbers = [_key(source, index, paths, folders) for index in range(len(source))]
    keys = np.array(numbers, np.uint64)
    places = keys / _WHOLE
    taken = np.zeros(len(keys), bool)
    splits: dict[str, Source] = {}
    low = 0.0
    for name, share in shares.items():
        chosen = (places >= low) & (places < low + share) & ~taken
        free = np.unique(keys[~taken])
        if share and not chosen.any() and len(free) > 1:
            chosen = keys == free[0]
        taken |= chosen
        low += share
        splits[name] = ChosenRows(source, np.flatnonzero(chosen))
    return {"train": ChosenRows(source, np.flatnonzero(~taken)), **splits}


def _key(source: Source, index: int, paths: Collection[str], folders: Sequence[str]) -> int:
    """A number of 64 bits; of a row that cannot be read the largest, which stays with the training rows."""
    try:
        row = source[index]
    except RowError:
        return 2**64 - 1
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(row):
        value = row[name]
        if name in paths and isinstance(value, str):
            value = "/".join(value.replace(os.sep, "/").split("/")[-_PARTS:])
        elif isinstance(value, str):
            value = _inside(value, folders)
        digest.update(repr(name).encode())
        _add(digest, value)
    return int.from_bytes(digest.digest(), "big")


def _inside(value: str, folders: Sequence[str]) -> str:
    """A path as it is told inside of its folder; any other text as it is."""
    for folder in folders:
        if value.startswith(f"{folder}{os.sep}"):
            return value.removeprefix(f"{folder}{os.sep}").replace(os.sep, "/")
    return value


def _add(digest: Any, value: Any) -> None:
    """Feed a value: its content where it has bytes, else how it is written."""
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            digest.update(repr(key).encode())
            _add(digest, value[key])
    elif isinstance(value, list | tuple):
        digest.update(b"[")
        for part in value:
            _add(digest, part)
        digest.update(b"]")
    elif isinstance(value, bytes):
        digest.update(value)
    elif hasattr(value, "tobytes"):
        digest.update(value.tobytes())
    else:
        digest.update(repr(value).encode("utf-8", "surrogatepass"))
