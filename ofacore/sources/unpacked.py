"""An uncompressed copy of a Parquet file in the cache folder: an Arrow file, whose rows are read where they lie.

It belongs to one state of the file, by size and time; several processes may read it, one of them writes it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofacore.ground.folders import cache_root

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

logger = logging.getLogger("ofacore.encoding")
BATCH_ROWS = 256
"""Rows that are described together: what is looked at to find one of them."""
STALE = 3600.0
"""Seconds after which an unfinished copy is taken to be one of a process that was killed."""


class UnpackedRows:
    """Rows of an Arrow file, mapped into memory (library: pyarrow)."""

    def __init__(self, path: Path) -> None:
        import pyarrow

        self._reader = pyarrow.ipc.open_file(pyarrow.memory_map(str(path)))
        batches = (
            self._reader.get_batch(number).num_rows
            for number in range(self._reader.num_record_batches)
        )
        self._ends = list(accumulate(batches))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> dict[str, Any]:
        batch = bisect_right(self._ends, index)
        inner = index - (self._ends[batch - 1] if batch else 0)
        return dict(self._reader.get_batch(batch).slice(inner, 1).to_pylist()[0])


def unpacked(path: Path, file: pyarrow.parquet.ParquetFile) -> UnpackedRows | None:
    """Rows of the copy, which is made if there is none; None if it cannot be: no room, or another process is at it."""
    import pyarrow

    place = _place(path)
    try:
        if not place.exists() and not _make(path, file, place):
            return None
        rows = UnpackedRows(place)
        return rows if len(rows) == file.metadata.num_rows else None
    except (OSError, pyarrow.ArrowException) as error:
        logger.debug("%s: no unpacked copy (%s)", path, error)
        return None


def _place(path: Path) -> Path:
    state = path.stat()
    stamp = f"{path.resolve()}\0{state.st_size}\0{state.st_mtime_ns}"
    return (
        cache_root()
        / "unpacked"
        / f"{path.stem}-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}.arrow"
    )


def _make(path: Path, file: pyarrow.parquet.ParquetFile, place: Path) -> bool:
    """Write the copy group by group; it appears whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    groups = range(file.metadata.num_row_groups)
    size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
    if shutil.disk_usage(place.parent).free < 2 * size:
        logger.warning(
            "%s: shuffled rows are read slowly; with room for a copy in %s they are not",
            path,
            place.parent,
        )
        return False
    scratch = place.with_suffix(".part")
    if not _claimed(scratch):
        return False
    logger.info(
        "%s: unpacking %d MB into %s, so that shuffled rows are read fast",
        path,
        size >> 20,
        place.parent,
    )
    try:
        _write(file, scratch)
        os.replace(scratch, place)
    finally:
        scratch.unlink(missing_ok=True)
    return True


def _write(file: pyarrow.parquet.ParquetFile, scratch: Path) -> None:
    import pyarrow

    with (
        pyarrow.OSFile(str(scratch), "wb") as sink,
        pyarrow.ipc.new_file(sink, file.schema_arrow) as writer,
    ):
        for group in range(file.metadata.num_row_groups):
            writer.write_table(file.read_row_group(group), max_chunksize=BATCH_ROWS)


def _claimed(scratch: Path) -> bool:
    """Whether this process may write; remains of a killed one are taken over."""
    if scratch.exists() and time.time() - scratch.stat().st_mtime > STALE:
        scratch.unlink(missing_ok=True)
    try:
        os.close(os.open(scratch, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True
