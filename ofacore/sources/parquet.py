"""Parquet files, memory-mapped, one row group decoded at a time.

Random access decodes whole row groups; the most recent ones are kept. Where they are decoded again and again because
rows are read in a shuffled order, the file is unpacked once into the cache folder and read from there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ofacore.ground.excerpts import cut, excerpt
from ofacore.protocols import RowError
from ofacore.sources.arrow_values import conversions
from ofacore.sources.base import Row, SourceError
from ofacore.sources.misnamed import refuse_foreign
from ofacore.sources.spelling import column_name, repeated
from ofacore.sources.unpacked import UnpackedRows, unpacked

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

_KEPT_BYTES = 1 << 28
_TIMES_DECODED = 2
"""How often the average group is decoded before the file is unpacked."""


class ParquetSource:
    """Rows of one Parquet file (library: pyarrow)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reset()
        meta, schema = self._open().metadata, self._open().schema_arrow
        self._ends = list(
            accumulate(meta.row_group(group).num_rows for group in range(meta.num_row_groups))
        )
        self._stored = tuple(schema.names)
        self.columns: tuple[str, ...] = tuple(map(column_name, self._stored))
        self._convert = conversions(schema)
        twice = repeated(self.columns)
        if twice is not None:
            raise SourceError(
                f"{path}: column name {excerpt(twice)} occurs twice; write it with names of its own"
            )

    def _reset(self) -> None:
        self._reader: pyarrow.parquet.ParquetFile | None = None
        self._groups: OrderedDict[int, pyarrow.Table] = OrderedDict()
        self._kept_bytes = self._decoded = 0
        self._unpacked: UnpackedRows | None = None
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        lost = ("_reader", "_groups", "_kept_bytes", "_decoded", "_unpacked", "_lock")
        return {key: value for key, value in self.__dict__.items() if key not in lost}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(index)
        group = bisect_right(self._ends, index)
        inner = index - (self._ends[group - 1] if group else 0)
        try:
            with self._lock:
                if self._unpacked is not None:
                    row = self._unpacked[index]
                else:
                    row = dict(self._group(group, index).slice(inner, 1).to_pylist()[0])
        except (ValueError, OverflowError) as error:
            if isinstance(error, RowError):
                raise
            raise RowError(
                f"{self.name(index)}: a value cannot be read: {_reason(error)}"
            ) from error
        return self._finished(row, index)

    def _finished(self, row: Row, index: int) -> Row:
        if self.columns != self._stored:
            row = dict(zip(self.columns, row.values(), strict=True))
        if self._convert is None:
            return row
        try:
            return self._convert(row)
        except RowError as error:
            raise RowError(f"{self.name(index)}, {error}") from error

    def name(self, index: int) -> str:
        return f"{self._path}[{index}]"

    def _open(self) -> pyarrow.parquet.ParquetFile:
        if self._reader is None:
            import pyarrow
            import pyarrow.parquet

            refuse_foreign(self._path, "Parquet file", [b"PAR1"])
            try:
                self._reader = pyarrow.parquet.ParquetFile(self._path, memory_map=True)
            except pyarrow.ArrowException as error:
                remedy = "write it again, or set format"
                reason = cut(" ".join(str(error).split()), 200).rstrip(".")
                raise SourceError(
                    f"{self._path}: no readable Parquet file: {reason}; {remedy}"
                ) from error
        return self._reader

    def _group(self, group: int, index: int) -> pyarrow.Table:
        if group in self._groups:
            self._groups.move_to_end(group)
            return self._groups[group]
        table = self._groups[group] = self._read(group, index)
        self._kept_bytes += table.nbytes
        while len(self._groups) > 1 and self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= self._groups.popitem(last=False)[1].nbytes
        self._decoded += 1
        if self._decoded == _TIMES_DECODED * len(self._ends) and len(self._groups) < len(
            self._ends
        ):
            self._unpacked = unpacked(self._path, self._open())
        return table

    def _read(self, group: int, index: int) -> pyarrow.Table:
        import pyarrow

        try:
            return self._open().read_row_group(group)
        except (pyarrow.ArrowException, OSError) as error:
            reason = " ".join(str(error).split())
            raise RowError(
                f"{self.name(index)}: row group {group} cannot be read: {reason}"
            ) from error


def _reason(error: Exception) -> str:
    """Why Arrow cannot make a value; for zones of time it names packages that would not help."""
    if "zoneinfo" in str(error):
        return "its time zone is not known here; install the package tzdata, or write the column in UTC"
    return cut(str(error), 200)
