"""Names of files that a file tells: only those inside of its own folder count."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath


def is_plain_name(name: object) -> bool:
    """Whether it is the name of one entry of a folder: text without separators that goes nowhere else."""
    return isinstance(name, str) and is_plain_path(name) and len(PureWindowsPath(name).parts) == 1


def is_plain_path(name: object) -> bool:
    """Whether it is a path that stays below its folder, on any system."""
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    absolute = posix.is_absolute() or windows.is_absolute() or bool(windows.drive or windows.root)
    return not absolute and ".." not in windows.parts and windows.parts != ()
