"""Files that artifacts refer to: kept once, under the digest of their content.

::

    run/artifact-files/<SHA-256>                    for all checkpoints of a run
    saved-model/artifact-files/<SHA-256>            for a model that travels

``state.json`` names a file by its digest alone, never by a path, so that it can mean nothing outside of these folders.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ofacore.checkpoint.checkpoint_errors import CheckpointError
from ofacore.checkpoint.durable import sync
from ofacore.checkpoint.file_names import is_plain_name
from ofacore.ground.artifacts import Artifact, StoredFile
from ofacore.ground.json_files import described
from ofacore.ground.printable import shortened

FOLDER = "artifact-files"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


def keep(store: Path, artifacts: Mapping[str, Artifact]) -> None:
    """Copy every file that artifacts refer to into a store; one that is there already stays.

    Each appears complete or not at all.

    Raises:
        CheckpointError: A file is gone, or no longer what it was when the artifact was made; or the store cannot be
            written. Names the file.
    """
    for artifact in artifacts.values():
        for name, file in artifact.references.items():
            place = store / file.digest
            if place.is_file() and place.stat().st_size == file.size:
                continue
            try:
                _copy(name, file, store)
            except OSError as error:
                what = f"cannot be written ({error.strerror}), but an artifact refers to '{name}' ({file.size} bytes)"
                raise CheckpointError(place, f"{what}; make room there") from error


def _copy(name: str, file: StoredFile, store: Path) -> None:
    store.mkdir(parents=True, exist_ok=True)
    for remains in store.glob(f".tmp-{file.digest}-*"):
        remains.unlink()
    if not file.path.is_file():
        what = f"is gone, but an artifact refers to it as '{name}' (SHA-256 {file.digest})"
        raise CheckpointError(file.path, f"{what}; put it back, so that it can be saved")
    temporary = store / f".tmp-{file.digest}-{os.getpid()}"
    try:
        with file.path.open("rb") as source, temporary.open("wb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
        _check(
            file.path,
            temporary,
            name,
            file.digest,
            file.size,
            "make the artifact anew, or put the file back",
        )
        sync(temporary)
        os.replace(temporary, store / file.digest)
    finally:
        temporary.unlink(missing_ok=True)
    sync(store)


def told(artifacts: Mapping[str, Artifact]) -> dict[str, dict[str, dict[str, Any]]]:
    """What ``state.json`` says: artifact -> file -> its ``sha256`` and ``size``; artifacts without any left out."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, artifact in artifacts.items():
        for file_name, file in artifact.references.items():
            found.setdefault(name, {})[file_name] = {"sha256": file.digest, "size": file.size}
    return found


def find(folder: Path, stated: object) -> dict[str, dict[str, StoredFile]]:
    """The files that a checkpoint's ``state.json`` names, each read once and compared with its digest.

    Args:
        folder: The checkpoint.
        stated: What `told` gave.

    Raises:
        CheckpointError: A file is missing or altered, or the statement is none.
    """
    state = folder / "state.json"
    if not isinstance(stated, dict) or not all(
        isinstance(files, dict) for files in stated.values()
    ):
        raise CheckpointError(
            state, f"artifact_files is {described(stated)}; expected artifact -> file -> digest"
        )
    found: dict[str, dict[str, StoredFile]] = {}
    checked: dict[str, StoredFile] = {}
    for artifact, files in stated.items():
        for name, entry in files.items():
            digest, size = _entry(state, name, entry)
            if digest not in checked:
                checked[digest] = _found(folder, name, digest, size)
            found.setdefault(artifact, {})[name] = checked[digest]
    return found


def _entry(state: Path, name: str, entry: object) -> tuple[str, int]:
    """Digest and size, as stated."""
    given = entry if isinstance(entry, dict) else {}
    digest, size = given.get("sha256"), given.get("size")
    if not is_plain_name(name):
        what = f"artifact_files names '{shortened(name)}'; expected the name of a file, without folders"
        raise CheckpointError(state, what)
    if (
        not isinstance(digest, str)
        or not _DIGEST.fullmatch(digest)
        or type(size) is not int
        or size < 0
    ):
        what = f"artifact_files says {shortened(repr(entry))} of '{shortened(name)}'; expected a SHA-256 and a size"
        raise CheckpointError(state, what)
    return digest, size


def _found(folder: Path, name: str, digest: str, size: int) -> StoredFile:
    places = [store / digest for store in _stores(folder)]
    place = next((place for place in places if place.is_file()), None)
    if place is None:
        what = f"the file '{name}' of an artifact is missing (SHA-256 {digest})"
        remedy = "copy it there from the run or saved model that this checkpoint came from; `Generalist.save` takes it"
        raise CheckpointError(places[-1], f"{what}; {remedy} along")
    _check(
        place,
        place,
        name,
        digest,
        size,
        "copy it again from the run or saved model that this checkpoint came from",
    )
    return StoredFile(place.absolute(), digest, size)


def _stores(folder: Path) -> list[Path]:
    """Where files of a checkpoint may be: in itself, or in the run that it, or what a link leads to, belongs to."""
    found = [folder / FOLDER]
    for own in dict.fromkeys((folder.absolute(), folder.resolve())):
        if own.parent.name == "checkpoints":
            found.append(own.parent.parent / FOLDER)
    return found


def _check(place: Path, content: Path, name: str, digest: str, size: int, remedy: str) -> None:
    """Compare a file with what it was.

    Raises:
        CheckpointError: It is another one now.
    """
    found = content.stat().st_size
    if found != size:
        what = f"the file '{name}' of an artifact is altered: {found} bytes, {size} were noted (SHA-256 {digest})"
        raise CheckpointError(place, f"{what}; {remedy}")
    with content.open("rb") as stream:
        now = hashlib.file_digest(stream, "sha256").hexdigest()
    if now != digest:
        what = (
            f"the file '{name}' of an artifact is altered: its SHA-256 is {now}, {digest} was noted"
        )
        raise CheckpointError(place, f"{what}; {remedy}")
