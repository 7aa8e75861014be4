"""The portable form: one folder that any layout, and any later version of the plugins, can read.

::

    step-000200/
      model.safetensors  optimizer.safetensors  optimizer.json  ema.safetensors
      state.json                 step, cursor, counters, configuration, plan, vocabulary, plugin lock, digests
      artifacts/<name>/<files>   ``/`` in a name is written ``%2F``
      artifact-files/<SHA-256>  files that artifacts refer to, unless the run keeps them (`artifact_files`)
      COMPLETE                   written last: name and size of every file

It is written in a temporary folder beside its place, flushed to the disk, and renamed. No pickle is read or written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ofacore.checkpoint import artifact_files
from ofacore.checkpoint.checkpoint_errors import CheckpointError
from ofacore.checkpoint.durable import sync, sync_tree, write_json
from ofacore.checkpoint.file_names import is_plain_path
from ofacore.checkpoint.sharded import KINDS, is_sharded, on_first, read_whole, write_shards
from ofacore.ground.artifacts import Artifact
from ofacore.ground.json_files import JsonError, described, read_object
from ofacore.ground.printable import shortened

MARKER = "COMPLETE"
FORMAT = 2
"""Newest version of the portable form; a checkpoint without one is of the first, as is one without artifact files."""
TEMPORARY = ".tmp-"
PREVIOUS = ".previous"
"""What a checkpoint is called for the moment between moving it aside and putting a newer one in its place."""


@dataclass(frozen=True)
class Snapshot:
    """Everything that a run needs to go on."""

    model: Mapping[str, Tensor]
    """Portable name -> weights."""
    state: Mapping[str, Any] = field(default_factory=dict)
    """JSON-ready: step, cursor, counters, configuration, plan, vocabulary, plugin lock."""
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    optimizer_structure: Mapping[str, Any] = field(default_factory=dict)
    """JSON-ready: what the optimiser's tensors are."""
    ema: Mapping[str, Tensor] = field(default_factory=dict)
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)


def save(folder: Path, snapshot: Snapshot, store: Path | None = None) -> Path:
    """Write a checkpoint; ``folder`` appears complete or not at all.

    An existing one is moved aside and deleted once the new one stands in its place. A process killed in between leaves
    it as ``<folder>.previous``, where `standing`, `load` and the next `save` find it.

    Args:
        folder: Where.
        snapshot: What.
        store: Where the run keeps the files that its artifacts refer to; None: the checkpoint carries them itself.

    Raises:
        CheckpointError: The disk is full or not writable; ``folder`` is then as before.
    """
    try:
        return _saved(folder, snapshot, store)
    except (OSError, SafetensorError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(
            str(error).split()
        )
        raise CheckpointError(
            folder, f"cannot be written ({reason}); make room there, or choose another"
        ) from error


def _saved(folder: Path, snapshot: Snapshot, store: Path | None) -> Path:
    folder = folder if folder.name not in ("", "..") else folder.resolve()
    temporary = folder.with_name(f"{TEMPORARY}{folder.name}-{os.getpid()}")
    _make_room(folder, temporary)
    try:
        _write_tensors(temporary, snapshot)
        _write_rest(temporary, snapshot, store)
        _replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return folder


def save_sharded(
    folder: Path,
    snapshot: Snapshot,
    group: dist.ProcessGroup | None = None,
    store: Path | None = None,
) -> Path:
    """Write a checkpoint of the sharded form; ``folder`` appears complete or not at all.

    All processes of ``group`` must call this together; None: this process holds everything.

    Args:
        folder: Where; the same for all, on a disk that all see.
        snapshot: Its tensors are the pieces of this process; see `ofacore.parallel.held_parts`.
        group: A group for the processor's memory (gloo).
        store: As in `save`.

    Raises:
        OSError: A process could not write; ``folder`` is then as before.
    """
    temporary = folder.with_name(f"{TEMPORARY}{folder.name}-shards")
    on_first(lambda: _make_room(folder, temporary), group)
    kinds = {"model": snapshot.model, "optimizer": snapshot.optimizer, "ema": snapshot.ema}
    write_shards(
        temporary,
        {f"{kind}/{name}": v for kind, own in kinds.items() for name, v in own.items()},
        group,
    )
    on_first(lambda: _finish(temporary, folder, snapshot, store), group)
    return folder


def _make_room(folder: Path, temporary: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if standing(folder) != folder:
        os.replace(standing(folder), folder)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()


def _finish(temporary: Path, folder: Path, snapshot: Snapshot, store: Path | None) -> None:
    _write_rest(temporary, snapshot, store)
    _replace(temporary, folder)


def load(folder: Path, optimizer: bool = True, tensors: bool = True) -> Snapshot:
    """Read a checkpoint of either form.

    Args:
        folder: The folder that `save` or `save_sharded` wrote.
        optimizer: Read the optimiser's tensors too; inference needs none.
        tensors: Read tensors at all, and whole; otherwise `ofacore.checkpoint.sharded` reads pieces.

    Raises:
        CheckpointError: Not a checkpoint, not complete, or a file is damaged; names the file.
    """
    folder = standing(folder)
    check_complete(folder)
    state = load_state(folder)
    artifacts = _artifacts(folder, state.pop("artifact_files", {}))
    for name, digest in state.get("artifacts", {}).items():
        if name not in artifacts or artifacts[name].digest != digest:
            place = folder / "artifacts" / _file_name(name)
            raise CheckpointError(place, f"missing or changed; its digest should be {digest}")
    kinds = [kind for kind in KINDS if tensors and (optimizer or kind != "optimizer")]
    read = read_whole if is_sharded(folder) else _read_file
    structure = _json(folder / "optimizer.json") if (folder / "optimizer.json").exists() else {}
    whole = {kind: read(folder, kind) for kind in kinds}
    return Snapshot(
        **{"model": {}, **whole}, state=state, optimizer_structure=structure, artifacts=artifacts
    )


def _artifacts(folder: Path, stated: object) -> dict[str, Artifact]:
    """Name -> artifact: files in memory, and those that ``artifact_files`` of the state names."""
    found = sorted((folder / "artifacts").glob("*"))
    try:
        artifacts = {unquote(path.name): Artifact.load(path) for path in found}
    except OSError as error:
        what = f"cannot be read ({error.strerror}: {error.filename})"
        raise CheckpointError(
            folder / "artifacts", f"{what}; expected a folder of files for each"
        ) from error
    for name, files in artifact_files.find(folder, stated).items():
        held = artifacts.get(name, Artifact())
        twice = next((file for file in files if file in held.files), None)
        if twice is not None:
            what = f"artifact_files names '{shortened(twice)}' of '{shortened(name)}', which lies in its folder too"
            raise CheckpointError(folder / "state.json", what)
        artifacts[name] = replace(held, references=files)
    return artifacts


def _read_file(folder: Path, kind: str) -> dict[str, Tensor]:
    return _tensors(folder / f"{kind}.safetensors", optional=kind != "model")


def load_state(folder: Path) -> dict[str, Any]:
    """Only ``state.json``: what the checkpoint is, without its tensors."""
    folder = standing(folder)
    check_complete(folder)
    path = folder / "state.json"
    state = _json(path)
    version, artifacts = state.pop("format", FORMAT), state.get("artifacts", {})
    if not isinstance(version, int) or version > FORMAT:
        what = f"is of form {shortened(version)}, written by a newer version of ofacore; this one reads form {FORMAT}"
        raise CheckpointError(path, f"{what}: update it with pip install -U ofacore")
    if not isinstance(artifacts, dict):
        raise CheckpointError(
            path, f"artifacts is {described(artifacts)}; expected an object of name -> digest"
        )
    return state


def standing(folder: Path) -> Path:
    """The folder itself, or the one that a killed process had moved aside and not yet replaced."""
    aside = previous(folder)
    return aside if not folder.exists() and is_complete(aside) else folder


def previous(folder: Path) -> Path:
    """Where a checkpoint stands while it is replaced."""
    named = folder if folder.name not in ("", "..") else folder.resolve()
    return named.with_name(named.name + PREVIOUS)


def is_complete(folder: Path) -> bool:
    """Was it written to the end?"""
    return (folder / MARKER).is_file()


def check_complete(folder: Path) -> None:
    """Compare every file with the sizes noted when it was written.

    Raises:
        CheckpointError: Names the first file that is missing or has another size.
    """
    if not folder.is_dir():
        raise CheckpointError(folder, "no such checkpoint folder")
    if not is_complete(folder):
        raise CheckpointError(folder, f"not a complete checkpoint: no file '{MARKER}' in it")
    remedy = f"use another checkpoint, or delete the folder {folder} to use the one before"
    for name, size in _noted(folder / MARKER).items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found is None:
            raise CheckpointError(path, f"missing from the checkpoint; {remedy}")
        if found != size:
            raise CheckpointError(path, f"damaged: {found} bytes, {size} were written; {remedy}")


def _noted(marker: Path) -> dict[str, int]:
    files = _json(marker).get("files")
    if not isinstance(files, dict):
        raise CheckpointError(marker, "names no files; it is not the marker of a checkpoint")
    wrong = next((name for name in files if not is_plain_path(name)), None)
    if wrong is not None:
        raise CheckpointError(
            marker, f"names the file '{shortened(wrong)}'; expected names inside of its folder"
        )
    return files


def _write_tensors(folder: Path, snapshot: Snapshot) -> None:
    _save_tensors(folder / "model.safetensors", snapshot.model)
    if snapshot.optimizer_structure or snapshot.optimizer:
        _save_tensors(folder / "optimizer.safetensors", snapshot.optimizer)
    if snapshot.ema:
        _save_tensors(folder / "ema.safetensors", snapshot.ema)


def _write_rest(folder: Path, snapshot: Snapshot, store: Path | None) -> None:
    """Everything but tensors, and the marker last of all."""
    digests = {name: artifact.digest for name, artifact in snapshot.artifacts.items()}
    if snapshot.optimizer_structure or snapshot.optimizer:
        write_json(folder / "optimizer.json", dict(snapshot.optimizer_structure))
    for name, artifact in snapshot.artifacts.items():
        artifact.save(folder / "artifacts" / _file_name(name))
    artifact_files.keep(store or folder / artifact_files.FOLDER, snapshot.artifacts)
    referred = artifact_files.told(snapshot.artifacts)
    version = {"format": FORMAT if referred else 1}
    told = {"artifact_files": referred} if referred else {}
    write_json(folder / "state.json", {**version, **snapshot.state, "artifacts": digests, **told})
    written = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in written}
    sync_tree(folder)
    write_json(folder / MARKER, {"files": files})
    sync(folder / MARKER)
    sync(folder)


def _replace(temporary: Path, folder: Path) -> None:
    aside = previous(folder)
    if folder.is_symlink():
        folder.unlink()  # what it points to is another run's
    if folder.exists():
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(folder, aside)
    try:
        os.replace(temporary, folder)
    except OSError:
        os.replace(standing(folder), folder)
        raise
    sync(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _file_name(name: str) -> str:
    """An artifact's name as the name of a folder: ``text/bpe`` becomes ``text%2Fbpe``."""
    return quote(name, safe=" ")


def _save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors by name; those that share memory are stored once for each name."""
    stored: dict[str, Tensor] = {}
    owners: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        memory = plain.untyped_storage().data_ptr()
        stored[name] = plain.clone() if memory in owners else plain
        owners.add(memory)
    save_file(stored, str(path))


def _tensors(path: Path, optional: bool = False) -> dict[str, Tensor]:
    if optional and not path.exists():
        return {}
    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(path, f"damaged or not a safetensors file ({error})") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        return read_object(path)
    except JsonError as error:
        remedy = f"use another checkpoint, or delete {path.parent} to use the one before"
        raise CheckpointError(path, f"{error.reason}; {remedy}") from error
