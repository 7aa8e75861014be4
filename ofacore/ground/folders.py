"""Folders outside of the project that the core writes to."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ofacore.ground.errors import UserError

_LOCK_FILE = ".in-use"
_LOOK = 2.0
"""Seconds that a process which only looks whether a folder is free may take for it."""


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
        raise UserError(
            f"'{folder}' cannot be a folder: '{nearest}' is a file; choose another place"
        )
    if not os.access(nearest, os.W_OK | os.X_OK) or _refuses(nearest):
        raise UserError(
            f"'{folder}' cannot be written to: '{nearest}' is not writable; choose another place"
        )


def _refuses(folder: Path) -> bool:
    """Whether a file system takes no files although its permissions allow it."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return False
    except OSError:
        return True


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Keep a folder, which is made where it is not there, for this process; the system gives it free at the end.

    A folder that was made here and is still empty at the end is taken away again.

    Where the file system knows no locks this does nothing.

    Raises:
        UserError: Another process, or another run of this one, has claimed it.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(folder, _opened(folder, os.O_CREAT)):
            yield
    finally:
        if made:
            with suppress(OSError):  # what is not empty stays
                (folder / _LOCK_FILE).unlink(missing_ok=True)
                folder.rmdir()


def check_free(folder: Path) -> None:
    """Make sure that no run is training in a folder, which need not exist. Several processes may look at once.

    Raises:
        UserError: One is.
    """
    if not folder.is_dir():
        return
    try:
        handle = _opened(folder)
    except FileNotFoundError:  # no lock file: nobody has ever claimed it
        return
    with _locked(folder, handle):
        pass


def is_claimed(folder: Path) -> bool:
    """Whether a run is training in a folder, as far as the file system tells; it does not wait."""
    from filelock import lock_descriptor

    try:
        handle = _opened(folder)
    except OSError:  # no folder, or no lock file: nobody has ever claimed it
        return False
    try:
        return not lock_descriptor(handle, blocking=False)
    except OSError:
        return False
    finally:
        os.close(handle)


def _opened(folder: Path, flags: int = 0) -> int:
    """A descriptor to lock: of the folder itself, or where folders cannot be opened, as on Windows, of a file in it."""
    try:
        return os.open(folder, os.O_RDONLY)
    except PermissionError:
        return os.open(folder / _LOCK_FILE, os.O_RDWR | flags)


@contextmanager
def _locked(folder: Path, handle: int) -> Iterator[None]:
    """Lock a descriptor, which is closed at the end, and with it the lock given up.

    There is one kind of lock, as Windows has no other: who only looks holds it for a moment, and who comes in that
    moment waits.
    """
    try:
        if not _lock(handle):
            remedy = "wait until it has ended, or choose another folder with --out"
            raise UserError(f"'{folder}' is in use: another run is training in it; {remedy}")
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Whether nobody else held the lock for longer than a look takes; True where there are no locks."""
    from filelock import lock_descriptor

    deadline = time.monotonic() + _LOOK
    try:
        while not lock_descriptor(handle, blocking=False):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
    except OSError:
        return True
    return True


def cache_root() -> Path:
    """The folder for everything that can be made again: ``OFA_CACHE``, else ``ofacore`` in the user's cache folder."""
    if chosen := os.environ.get("OFA_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "ofacore"
