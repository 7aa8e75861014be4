"""Weights of a checkpoint by name, for plugins that merge or edit models: read one by one, written all at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ofacore.checkpoint.checkpoint_errors import CheckpointError, check_fit
from ofacore.checkpoint.portable import check_complete, load, save, standing
from ofacore.checkpoint.run_folder import find_latest, read_pointer
from ofacore.checkpoint.sharded import SHARDS, ShardIndex, is_sharded
from ofacore.ground.folders import check_writable
from ofacore.ground.printable import shortened

_MODEL = "model"


class Weights(Mapping[str, Tensor]):
    """Name -> fp32 tensor of the trained weights of a checkpoint, read when it is asked for; files are mapped.

    Names are those of ``Generalist.model.portable_state()``: ``adapters.<name>. ...``, ``heads.<name>. ...``,
    ``backbone. ...``, ``embedding.<block>``. Where averages were kept, they are the weights, as loading takes them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._floating: dict[str, bool] = {}
        self._places: dict[str, tuple[str, str]] = {}
        """Name -> file and the name in it; of a sharded checkpoint kind and name."""
        self._shards = ShardIndex(folder) if is_sharded(folder) else None
        for kind in (_MODEL, "ema"):
            for name, (shape, floating) in self._listed(kind).items():
                self._shapes[name], self._places[name] = shape, (kind, name)
                self._floating[name] = floating

    def __getitem__(self, name: str) -> Tensor:
        """One tensor.

        Raises:
            KeyError: There is none of that name.
            CheckpointError: Its file is damaged.
        """
        kind, key = self._places[name]
        if self._shards is not None:
            return self._shards.read(f"{kind}/{key}")
        path = self.folder / f"{kind}.safetensors"
        try:
            with safe_open(str(path), framework="pt") as file:
                found: Tensor = file.get_tensor(key)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                path, f"damaged, or changed since it was opened ({error})"
            ) from error
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, which is not read."""
        return self._shapes[name]

    def is_floating(self, name: str) -> bool:
        """Whether a tensor holds floating-point numbers; it is not read."""
        return self._floating[name]

    def _listed(self, kind: str) -> dict[str, tuple[tuple[int, ...], bool]]:
        """Name -> shape, and whether its numbers are floating-point."""
        if self._shards is not None:
            return {
                name.partition("/")[2]: (e.shape, e.dtype.is_floating_point)
                for name, e in self._shards.tensors.items()
                if name.startswith(f"{kind}/")
            }
        path = self.folder / f"{kind}.safetensors"
        if kind != _MODEL and not path.exists():
            return {}
        try:
            with safe_open(str(path), framework="pt") as file:
                slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
                return {
                    name: (tuple(part.get_shape()), "F" in part.get_dtype())
                    for name, part in slices.items()
                }
        except (SafetensorError, OSError) as error:
            raise CheckpointError(path, f"damaged or not a safetensors file ({error})") from error


def read_checkpoint(folder: str | Path, which: str = "latest") -> Weights:
    """The weights of a saved model, a run folder or one of its checkpoints, by name.

    Args:
        folder: Where it is.
        which: Of a run folder: ``latest`` or ``best``.

    Raises:
        CheckpointError: Nothing usable is there, or a file is damaged; names the file.
    """
    place = standing(Path(folder))
    if not (place / "COMPLETE").is_file() and (place / "checkpoints").is_dir():
        found = read_pointer(place, "best") if which == "best" else find_latest(place)
        if found is None:
            raise CheckpointError(place, f"has no {which} checkpoint")
        place = found
    check_complete(place)
    return Weights(place)


def write_checkpoint(
    folder: str | Path, weights: Mapping[str, Tensor], like: str | Path | Weights
) -> Path:
    """A saved model with other weights: ``folder`` appears complete or not at all.

    Plans, vocabulary and artifacts are those of ``like``; the state of its optimiser is left out.

    Args:
        folder: Where it is written; it must not exist, or be empty.
        weights: Name -> tensor, of the names and shapes of ``like``.
        like: The checkpoint that the weights were made from.

    Raises:
        CheckpointError: Names or shapes differ, a tensor holds no floating-point numbers, or the folder is taken.
    """
    base, out = like if isinstance(like, Weights) else read_checkpoint(like), Path(folder)
    if out.exists() and any(out.iterdir()):
        raise CheckpointError(out, "is not empty; choose another folder")
    given = {name: weights[name] for name in weights}
    meta = {name: torch.empty(base.shape(name), device="meta") for name in base}
    check_fit(out, given, meta)
    whole_numbers = [name for name, value in given.items() if not value.is_floating_point()]
    whole = next((name for name in whole_numbers if base[name].is_floating_point()), None)
    if whole is not None:
        raise CheckpointError(
            out, f"'{shortened(whole)}' is {given[whole].dtype}; expected floating-point numbers"
        )
    check_writable(out)
    exact = {
        name: value.float() if value.is_floating_point() else value for name, value in given.items()
    }
    snapshot = load(base.folder, optimizer=False, tensors=False)
    return save(out, replace(snapshot, model=exact))


def digest_of(folder: Path) -> str:
    """SHA-256 over the files that hold the weights of a checkpoint: equal weights, written alike, have an equal one."""
    total = hashlib.sha256()
    files = (folder / f"{kind}.safetensors" for kind in (_MODEL, "ema"))
    for path in [*files, *sorted((folder / SHARDS).glob("*"))]:
        if path.is_file():
            with path.open("rb") as stream:
                total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def origin_of(folder: Path) -> dict[str, Any]:
    """What a run notes of the checkpoint that it begins with: ``folder`` and ``weights``; nothing where it is gone."""
    if not (folder / "COMPLETE").is_file():
        return {}
    return {"folder": str(folder.absolute()), "weights": digest_of(folder)}


def origin_in(state: Mapping[str, Any]) -> dict[str, Any]:
    """What the state of a checkpoint says its weights were before training; empty where it does not say."""
    found = state.get("origin")
    return dict(found) if isinstance(found, dict) else {}
