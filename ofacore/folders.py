"""Folders outside of the project that the core writes to."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ofacore.errors import UserError


def check_place(file: Path) -> None:
    """Make sure that a file can be made in a folder that is there.

    Raises:
        UserError: It cannot; says why.
    """
    if file.is_dir():
        raise UserError(f"'{file}' is a folder; name a file")
    if not file.parent.exists():
        raise UserError(f"'{file}' cannot be written: there is no folder '{file.parent}'")
    check_writable(file.parent)


def check_writable(folder: Path) -> None:
    """Make sure that files can be made in a folder, which need not exist yet; nothing is made.

    Raises:
        UserError: They cannot; says why.
    """
    nearest = folder
    while not nearest.exists() and nearest != nearest.parent:
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UserError(f"'{folder}' cannot be a folder: '{nearest}' is a file; choose another place")
    if not os.access(nearest, os.W_OK | os.X_OK) or _refuses(nearest):
        raise UserError(f"'{folder}' cannot be written to: '{nearest}' is not writable; choose another place")


def _refuses(folder: Path) -> bool:
    """Whether a file system takes no files although its permissions allow it."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return False
    except OSError:
        return True


def cache_root() -> Path:
    """The folder for everything that can be made again: ``OFA_CACHE``, else ``ofacore`` in the user's cache folder."""
    if chosen := os.environ.get("OFA_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "ofacore"
