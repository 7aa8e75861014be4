"""Prepared splits on disk: JSON lines for plain values, one memory-mapped ``.npy`` per split and array column.

Preparing a task (rendering, resampling, cutting tiles) is done once; later runs map the arrays and read the lines. What
is there no more, or is cut off, is prepared again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofa_starter.fetching import PackageSource
from ofa_starter.marker import MARKER, is_complete, mark
from ofa_starter.splits import Row, Splits
from ofacore.ground.folders import cache_root
from ofacore.ground.json_text import json_text

FORMAT = 1
_LOG = logging.getLogger(__name__)


def prepared(
    name: str,
    build: Callable[[], Splits],
    *,
    sources: Sequence[PackageSource] = (),
    version: int = 1,
    seed: int = 0,
    cache: Path | None = None,
) -> Splits:
    """Splits stored under ``name``, built first if they are not there, and anew if they are damaged.

    Args:
        name: Name of the data, part of the folder's name; another package may use the same.
        build: Makes the splits, the same ones each time.
        sources: Sources it reads; another release of one of them is another folder.
        version: Raised by the author when ``build`` changes its result.
        seed: Seed that ``build`` uses.
        cache: Cache folder; default `cache_root`.
    """
    package = getattr(build, "__module__", "").partition(".")[0]
    key = json.dumps([FORMAT, version, seed, [source.folder for source in sources], package])
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    folder = (cache or cache_root()) / "prepared" / f"{name}-{digest}"
    if is_complete(folder):
        try:
            return load_splits(folder)
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            (folder / MARKER).unlink()
            _LOG.warning("'%s' is damaged (%s) and is made anew", folder, error)
    _store_atomically(folder, build())
    return load_splits(folder)


def _store_atomically(folder: Path, splits: Splits) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        save_splits(scratch, splits)
        mark(scratch)
        if not is_complete(folder):
            shutil.rmtree(folder, ignore_errors=True)
            scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def save_splits(folder: Path, splits: Splits) -> None:
    """Write splits; array columns (`numpy.ndarray`, one dtype a column, any shapes) go to ``.npy`` files."""
    for split, rows in splits.items():
        names = [key for key in rows[0] if isinstance(rows[0][key], np.ndarray)] if rows else []
        for name in names:
            _save_column(folder / f"{split}.{name}.npy", [row[name] for row in rows])
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json_text({key: _plain(row, key, names) for key in row}) + "\n")


def _plain(row: Row, key: str, arrays: Sequence[str]) -> Any:
    """The JSON value of a cell; of an array its shape, since the numbers are in the ``.npy`` file."""
    return {"shape": list(row[key].shape)} if key in arrays else row[key]


def _save_column(path: Path, arrays: Sequence[np.ndarray]) -> None:
    if len({array.dtype for array in arrays}) > 1:
        raise TypeError(f"column {path.stem!r} mixes array types")
    np.save(path, np.concatenate([array.reshape(-1) for array in arrays]), allow_pickle=False)


def load_splits(folder: Path) -> Splits:
    """Read what `save_splits` wrote; arrays are private copy-on-write views of the mapped files."""
    return {
        path.stem: _load_rows(folder, path.stem)
        for path in sorted(folder.glob("*.jsonl"), key=_split_order)
    }


def _split_order(path: Path) -> int:
    return ("train", "valid", "test").index(path.stem)


def _load_rows(folder: Path, split: str) -> list[Row]:
    with (folder / f"{split}.jsonl").open(encoding="utf-8") as file:
        rows: list[Row] = [json.loads(line) for line in file]
    for path in sorted(folder.glob(f"{split}.*.npy")):
        _attach(rows, path.name.split(".")[1], np.load(path, mmap_mode="c", allow_pickle=False))
    return rows


def _attach(rows: list[Row], name: str, flat: np.ndarray) -> None:
    flat, start = np.asarray(flat), 0
    for row in rows:
        shape = tuple(row[name]["shape"])
        size = int(np.prod(shape))
        row[name] = flat[start : start + size].reshape(shape)
        start += size
