"""The sharded form: every process writes what it holds, with its place in the whole; any layout reads any other's.

::

    step-000200/
      shards/shard-00001-model-00001-of-00001.safetensors   one for each process
      optimizer.json  state.json  artifacts/  COMPLETE      as in the portable form

Tensors are called ``model/<name>``, ``optimizer/<name>|<what>`` and ``ema/<name>``; the header of each file says where
its parts lie (torch's distributed checkpoints with their safetensors storage). No pickle is read or written.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ofacore.checkpoint.checkpoint_errors import CheckpointError, listed
from ofacore.parallel.held_parts import whole_size

SHARDS = "shards"
KINDS = ("model", "optimizer", "ema")


@dataclass(frozen=True)
class Stored:
    """A tensor in a sharded checkpoint."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def is_sharded(folder: Path) -> bool:
    """Whether a checkpoint is of this form."""
    return (folder / SHARDS).is_dir()


def write_shards(
    folder: Path, tensors: Mapping[str, Tensor], group: dist.ProcessGroup | None
) -> None:
    """Write what every process of a group holds; all of them must call this together.

    Single numbers are copied: safetensors refuses several names for one memory.

    Raises:
        OSError: A process could not write.
    """
    from torch.distributed.checkpoint import HuggingFaceStorageWriter, save
    from torch.distributed.checkpoint.api import CheckpointException

    held = {
        name: value if value.ndim else value.clone()
        for name, value in tensors.items()
        if value.numel()
    }
    writer = HuggingFaceStorageWriter(str(folder / SHARDS), save_distributed=True)
    try:
        with _alone_is_fine():
            save(dict(held), storage_writer=writer, process_group=group, no_dist=group is None)
    except CheckpointException as error:
        causes = [str(cause) for cause, _ in error.failures.values()]
        raise OSError(f"{folder}: {'; '.join(dict.fromkeys(causes))}") from error


def stored(folder: Path) -> dict[str, Stored]:
    """Every tensor of a sharded checkpoint, by its name with the kind in front.

    Raises:
        CheckpointError: A file is damaged.
    """
    return ShardIndex(folder).tensors


class ShardIndex:
    """Where the tensors of a sharded checkpoint lie: for readers of one after the other, who look that up once.

    Args:
        folder: The checkpoint.

    Raises:
        CheckpointError: A file is damaged.

    Attributes:
        tensors: Name with the kind in front -> what it is.
    """

    def __init__(self, folder: Path) -> None:
        found = _metadata(folder)
        self.tensors = {
            name: Stored(tuple(entry.size), entry.properties.dtype)
            for name, entry in found.state_dict_metadata.items()
        }
        self._pieces: dict[str, list[tuple[Path, tuple[int, ...]]]] = {}
        """Name -> the files that hold pieces of it, each with its place in the whole."""
        for index, info in found.storage_data.items():
            place = Path(info.relative_path), tuple(index.offset or ())
            self._pieces.setdefault(index.fqn, []).append(place)

    def read(self, name: str) -> Tensor:
        """One tensor, whole.

        Raises:
            CheckpointError: A file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        entry = self.tensors[name]
        whole = torch.empty(entry.shape, dtype=entry.dtype)
        for path, offset in self._pieces[name]:
            try:
                with safe_open(str(path), framework="pt") as file:
                    piece = file.get_tensor(name)
            except (SafetensorError, OSError) as error:
                reason = f"damaged, or changed since it was opened ({error})"
                raise CheckpointError(path, reason) from error
            sizes = zip(offset, piece.shape, strict=True)
            whole[tuple(slice(start, start + size) for start, size in sizes)] = piece
        return whole


def _metadata(folder: Path) -> Any:
    """What the headers of all files say."""
    from safetensors import SafetensorError
    from torch.distributed.checkpoint import HuggingFaceStorageReader

    try:
        return HuggingFaceStorageReader(str(folder / SHARDS)).read_metadata()
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            folder / SHARDS, f"damaged or not safetensors files ({error})"
        ) from error


def read_shards(folder: Path, into: Mapping[str, Tensor]) -> None:
    """Fill pieces from a sharded checkpoint; every process reads for itself.

    Args:
        folder: The checkpoint.
        into: Name with the kind in front -> piece.

    Raises:
        CheckpointError: A tensor is not there or has another shape.
    """
    from torch.distributed.checkpoint import HuggingFaceStorageReader, load

    wanted = {name: value for name, value in into.items() if value.numel()}
    _check_fit(folder, wanted)
    with _alone_is_fine():
        load(
            dict(wanted),
            storage_reader=HuggingFaceStorageReader(str(folder / SHARDS)),
            no_dist=True,
        )


def read_whole(folder: Path, kind: str) -> dict[str, Tensor]:
    """All tensors of one kind, whole, by their names without it."""
    found = {name: each for name, each in stored(folder).items() if name.startswith(f"{kind}/")}
    into = {name: torch.empty(each.shape, dtype=each.dtype) for name, each in found.items()}
    read_shards(folder, into)
    return {name.partition("/")[2]: value for name, value in into.items()}


def _check_fit(folder: Path, wanted: Mapping[str, Tensor]) -> None:
    found = stored(folder)
    missing = sorted(set(wanted) - set(found))
    shapes = [
        f"{name}: stored {list(found[name].shape)}, here {list(whole_size(value))}"
        for name, value in wanted.items()
        if name in found and found[name].shape != whole_size(value)
    ]
    if missing or shapes:
        told = {"missing": missing, "different shape": shapes}
        problems = "; ".join(f"{what}: {listed(names)}" for what, names in told.items() if names)
        raise CheckpointError(folder, f"does not fit the model; {problems}")


@contextmanager
def _alone_is_fine() -> Iterator[None]:
    """Torch warns where one process saves or loads without a group, which is meant here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


# ---------------------------------------------------------------- one for all


def on_first(action: Callable[[], None], group: dist.ProcessGroup | None) -> None:
    """The first process of a group acts, the others wait; all of them must call this together.

    Raises:
        OSError: It failed; said on every process but the first, which raises what happened.
    """
    if group is None:
        action()
        return
    told: list[str | None] = [None]
    failure: Exception | None = None
    if dist.get_rank(group) == 0:
        try:
            action()
        except Exception as error:
            failure, told = error, [f"rank 0 could not save: {error}"]
    dist.broadcast_object_list(told, group=group, group_src=0)
    if failure or told[0] is not None:
        raise failure or OSError(told[0])
