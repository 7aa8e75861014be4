"""A package written to disk: all of it or nothing, and never over anything."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ofacore.ground.folders import check_writable
from ofacore.plugin import UserError


def write_package(folder: Path, files: Mapping[str, str]) -> None:
    """Make a folder that holds the files.

    Args:
        folder: Must not exist; folders above it are made.
        files: Path within the folder -> content.

    Raises:
        UserError: Something is there already, or nothing can be written there.
    """
    if folder.exists() or folder.is_symlink():
        raise UserError(
            f"'{folder}' is there already: choose another name, or another place with --dir"
        )
    check_writable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        scratch.chmod(0o755)
        for path, content in files.items():
            file = scratch / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
