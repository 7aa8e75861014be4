"""The file that says a folder of the cache is complete, and how large each of its files is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ofacore.ground.json_text import json_text

MARKER = ".complete"


def mark(folder: Path, **told: Any) -> None:
    """Say that a folder is complete.

    Args:
        folder: All its files are written.
        told: What else the file shall say.
    """
    files = [path for path in folder.rglob("*") if path.is_file()]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    (folder / MARKER).write_text(json_text({**told, "sizes": sizes}), encoding="utf-8")


def is_complete(folder: Path) -> bool:
    """Whether a folder was marked, and has every file at its size; a cut-off copy and a full disk change that."""
    try:
        text = (folder / MARKER).read_text(encoding="utf-8")
        sizes = json.loads(text or "{}").get("sizes", {})
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False
