"""Files that survive a crash: written whole and flushed to the disk, or not there at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofacore.ground.json_text import json_text

_FLUSHABLE = os.O_RDWR if os.name == "nt" else os.O_RDONLY
"""Windows flushes only what may be written to."""


def sync(path: Path) -> None:
    """Flush a file or a folder's entries to the disk; where folders cannot be opened, as on Windows, files alone."""
    try:
        handle = os.open(path, _FLUSHABLE)
    except PermissionError:
        if path.is_dir():
            return
        raise
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """Flush everything below a folder, and the folder."""
    for path in sorted(folder.rglob("*"), reverse=True):
        sync(path)
    sync(folder)


def write_json(path: Path, value: Any, *, lossless: bool = True) -> None:
    """Plain JSON, readable by people; what would come back as something else is refused if it must not get lost."""
    path.write_text(json_text(value, indent=1, lossless=lossless) + "\n", encoding="utf-8")


def replace_json(path: Path, value: Mapping[str, Any]) -> None:
    """Replace a small JSON file atomically; numbers that are not finite become null."""
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        write_json(temporary, value, lossless=False)
        sync(temporary)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)
