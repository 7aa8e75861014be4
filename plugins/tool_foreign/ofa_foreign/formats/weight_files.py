"""Files with the weights of other projects: names and tensors, whatever wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ofa_foreign.formats.bounds import AmplifiedError, Budget
from ofa_foreign.formats.dictionary import read_json
from ofa_foreign.formats.unpickling import LazyTensor, OtherTensor, Storage, read_torch_file
from ofacore.checkpoint.checkpoint_errors import CheckpointError
from ofacore.checkpoint.file_names import is_plain_name
from ofacore.ground.printable import shortened

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_WRAPPERS = ("module.", "_orig_mod.")
"""What `DistributedDataParallel` and `torch.compile` put before every name."""
_POINTER = b"version https://git-lfs"
INDEX = ".index.json"


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a folder of `transformers`, in one file or several.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return load_tensors(folder / name)
        index = folder / f"{name}{INDEX}"
        if index.is_file():
            return {
                key: value
                for part in _parts(index)
                for key, value in load_tensors(folder / part).items()
            }
    there = ", ".join(sorted(entry.name for entry in folder.iterdir())[:10])
    raise CheckpointError(folder, f"found {there}; expected weights in {' or '.join(WEIGHTS)}")


def _parts(index: Path) -> list[str]:
    """Names of the files that an index divides its tensors among.

    Raises:
        CheckpointError: It names none, or one outside of its folder.
    """
    names = list(_mapping(_mapping(read_json(index)).get("weight_map")).values())
    if not names:
        raise CheckpointError(index, "names no files; expected a weight_map of tensor -> file")
    wrong = [name for name in names if not is_plain_name(name)]
    if wrong:
        what = f"weight_map names {shortened(repr(wrong[0]))}"
        raise CheckpointError(index, f"{what}; expected names of files beside it")
    return sorted(set(names))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file, safetensors or PyTorch's.

    Raises:
        CheckpointError: It is missing or damaged, or would run code.
    """
    if not path.is_file():
        raise CheckpointError(path, "no such file")
    check_fetched(path)
    if path.suffix == ".safetensors":
        try:
            return load_file(str(path))
        except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
            raise CheckpointError(path, f"damaged or not a safetensors file ({error})") from error
    return tensors_of(read_torch_file(path), path)


def tensors_of(value: Any, path: Path) -> dict[str, Tensor]:
    """Every tensor of a state; what else stands in it is passed over.

    Raises:
        CheckpointError: There is none, or one that cannot be read.
    """
    found = {str(name): part for name, part in value.items()} if isinstance(value, Mapping) else {}
    lazy = {name: tensor for name, tensor in found.items() if isinstance(tensor, LazyTensor)}
    if not lazy:
        raise CheckpointError(path, f"found {described(value)}; expected names and tensors")
    other = next((name for name, tensor in found.items() if isinstance(tensor, OtherTensor)), None)
    if other is not None:
        what = f"tensor '{shortened(other)}' is sparse, quantised or nested"
        raise CheckpointError(path, f"{what}; expected plain tensors")
    try:
        _check_memory(lazy, path)
        return _read(lazy)
    except (ValueError, KeyError, OSError, RuntimeError, TypeError, BadZipFile) as error:
        raise CheckpointError(path, f"damaged or cut off ({error})") from error


def _check_memory(tensors: Mapping[str, LazyTensor], path: Path) -> None:
    """Tensors take no more memory than a small multiple of their file: many may be views of the same numbers.

    Raises:
        CheckpointError: They do.
    """
    try:
        Budget(path.stat().st_size).spend(sum(tensor.memory for tensor in tensors.values()))
    except AmplifiedError as error:
        largest = max(tensors, key=lambda name: tensors[name].memory)
        shape = shortened(list(tensors[largest].shape))
        raise CheckpointError(
            path, f"refused: {error} ('{shortened(largest)}' has shape {shape})"
        ) from None


def _read(tensors: Mapping[str, LazyTensor]) -> dict[str, Tensor]:
    """Every tensor, with memory of its own; each storage is read once."""
    owners: dict[Storage, list[str]] = {}
    for name, tensor in tensors.items():
        owners.setdefault(tensor.storage, []).append(name)
    found: dict[str, Tensor] = {}
    for storage, names in owners.items():
        content = storage.read(storage.key)
        found |= {name: tensors[name].of(content) for name in names}
    return {name: found[name] for name in tensors}


def unwrapped(
    tensors: Mapping[str, Tensor], more: tuple[str, ...] = ()
) -> tuple[dict[str, Tensor], str]:
    """Tensors without what wrappers, those of ``more`` too, put before every name, and what that was."""
    prefix, first = "", next(iter(tensors), "")
    while wrapper := next(
        (part for part in (*_WRAPPERS, *more) if first.startswith(prefix + part)), ""
    ):
        if not all(name.startswith(prefix + wrapper) for name in tensors):
            break
        prefix += wrapper
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, prefix


def check_fetched(path: Path) -> None:
    """A file is there itself, not as a pointer to it.

    Raises:
        CheckpointError: Git LFS left a pointer.
    """
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            remedy = "`git lfs pull` in its folder fetches the file"
            raise CheckpointError(
                path, f"is a pointer of Git LFS and not the file itself; {remedy}"
            )


def described(value: Any) -> str:
    """What was found, in words."""
    if isinstance(value, Mapping):
        return f"a dictionary of {', '.join(shortened(name, 40) for name in list(value)[:5]) or 'nothing'}"
    return f"a {type(value).__name__}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
