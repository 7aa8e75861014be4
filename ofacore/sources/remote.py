"""Files of object stores and other machines, brought into the cache once by `fsspec`; afterwards they are local files.

Rows are read at random and again in every epoch, so a file is brought whole. A file that changes at its place is
brought again where its store tells changes (object stores do, web servers do not).
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ofacore.ground.addresses import address_problem
from ofacore.ground.excerpts import cut
from ofacore.ground.folders import cache_root
from ofacore.ground.patterns import alternatives
from ofacore.sources.base import SourceError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

logger = logging.getLogger("ofacore.data")

_WEB = ("http://", "https://")
"""Where ``?`` begins a query, and nothing can be listed."""


def fetched(address: str) -> list[Path]:
    """The files of an address as files here, each brought unless it lies in the cache already.

    Args:
        address: With its protocol, such as ``s3://bucket/shard-{000..007}.tar``; ``*`` and ``**`` are looked up in the
            store.

    Raises:
        SourceError: The protocol is unknown or lacks its package, nothing lies there, or it cannot be brought; names
            the address.
    """
    files: dict[str, Path] = {}
    for single in alternatives(address):
        system = _file_system(single)
        try:
            paths = _paths(system, single)
            for path in paths:
                files[path] = _brought(system, path)
        except SourceError:
            raise
        except Exception as error:  # every store has errors of its own
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            raise SourceError(
                f"{cut(single, 200)} cannot be fetched: {cut(reason, 300)}; "
                f"see that the address and your credentials for it are right"
            ) from error
    return list(files.values())


def _file_system(address: str) -> AbstractFileSystem:
    """Of the protocol of an address, with the settings of the user's `fsspec` configuration and environment."""
    from fsspec import filesystem

    problem = address_problem(address)
    if problem:
        raise SourceError(problem)
    return filesystem(address.partition("://")[0])


def _paths(system: AbstractFileSystem, address: str) -> list[str]:
    """What an address names in its store, sorted."""
    path = system._strip_protocol(address)
    if address.startswith(_WEB) or not any(mark in path for mark in "*?["):
        return [path]
    found = sorted(found for found in system.glob(path) if not system.isdir(found))
    if not found:
        raise SourceError(f"nothing lies at {cut(address, 200)}; see that the pattern is right")
    return found


def _brought(system: AbstractFileSystem, path: str) -> Path:
    """The local copy of one file, under its own name: formats are told by it."""
    from filelock import FileLock

    if system.isdir(path):
        raise SourceError(
            f"{cut(system.unstrip_protocol(path), 200)} is a folder; name its files, as in '{path}/*.parquet'"
        )
    state = hashlib.sha256(f"{system.unstrip_protocol(path)} {system.ukey(path)}".encode())
    folder = cache_root() / "remote" / state.hexdigest()[:24]
    place = folder / os.path.basename(path.partition("?")[0])
    if place.exists():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if not place.exists():
            logger.info("fetching %s to %s", system.unstrip_protocol(path), place)
            _copy(system, path, place)
    return place


def _copy(system: AbstractFileSystem, path: str, place: Path) -> None:
    """Bring a file whole or not at all."""
    handle, scratch = tempfile.mkstemp(prefix=".part-", dir=place.parent)
    os.close(handle)
    try:
        system.get_file(path, scratch)
        os.replace(scratch, place)
    finally:
        Path(scratch).unlink(missing_ok=True)
