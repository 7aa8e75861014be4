"""Parquet files, memory-mapped, one row group decoded at a time.

Random access decodes whole row groups; the most recent ones are kept. Files with groups of a few thousand rows suit
training best (``row_group_size`` when writing).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ofacore.data.sources.base import Row, SourceError

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

_KEPT_BYTES = 1 << 28


class ParquetSource:
    """Rows of one Parquet file (library: pyarrow)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reset()
        meta = self._open().metadata
        self._ends = list(accumulate(meta.row_group(group).num_rows for group in range(meta.num_row_groups)))
        self.columns: tuple[str, ...] = tuple(self._open().schema_arrow.names)

    def _reset(self) -> None:
        self._reader: pyarrow.parquet.ParquetFile | None = None
        self._groups: OrderedDict[int, pyarrow.Table] = OrderedDict()
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_ends": self._ends, "columns": self.columns}

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
        with self._lock:
            return dict(self._group(group).slice(inner, 1).to_pylist()[0])

    def name(self, index: int) -> str:
        return f"{self._path}[{index}]"

    def _open(self) -> pyarrow.parquet.ParquetFile:
        if self._reader is None:
            import pyarrow
            import pyarrow.parquet

            try:
                self._reader = pyarrow.parquet.ParquetFile(self._path, memory_map=True)
            except pyarrow.ArrowException as error:
                raise SourceError(f"{self._path}: no readable Parquet file: {error}") from error
        return self._reader

    def _group(self, group: int) -> pyarrow.Table:
        if group in self._groups:
            self._groups.move_to_end(group)
        else:
            self._groups[group] = self._open().read_row_group(group)
        while len(self._groups) > 1 and sum(table.nbytes for table in self._groups.values()) > _KEPT_BYTES:
            self._groups.popitem(last=False)
        return self._groups[group]
