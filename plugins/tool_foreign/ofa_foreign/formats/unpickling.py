"""Reads PyTorch's own files, which are pickles, without running what they say.

Both layouts: the archive that `torch.save` writes since PyTorch 1.6, and the stream of several pickles before that.
Tensors stay on the disk until they are asked for, so an optimiser's state costs nothing.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ofa_foreign.formats.bounds import AmplifiedError, Budget, Metered, check_pickle
from ofa_foreign.formats.inert import ForbiddenGlobal, inert
from ofacore.checkpoint.checkpoint_errors import CheckpointError
from ofacore.ground.printable import shortened

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    zipfile.BadZipFile,
    struct.error,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    ValueError,
    RecursionError,
    OverflowError,
    NotImplementedError,
    MemoryError,
    OSError,
    RuntimeError,
    zlib.error,
)


_MOST_AXES = 64
_EXPECTED = "expected a whole file as torch.save writes it"


@dataclass(frozen=True)
class Storage:
    """Numbers in a file, not yet read."""

    key: str
    dtype: torch.dtype
    size: int
    """Elements."""
    read: Callable[[str], bytes]


class OtherTensor:
    """A tensor of a kind that is not read: sparse, quantised, nested or on no device."""

    def __init__(self, kind: str, *_: Any) -> None:
        self.kind = kind

    def __setstate__(self, state: Any) -> None:
        """Nothing of it is kept."""


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that is read when asked for."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> torch.dtype:
        """Type of its elements."""
        return self.storage.dtype

    @property
    def memory(self) -> int:
        """Bytes that the tensor takes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self) -> Tensor:
        """The tensor, contiguous, with memory of its own.

        Raises:
            ValueError: The file holds fewer numbers than the tensor needs.
        """
        return self.of(self.storage.read(self.storage.key))

    def of(self, content: bytes) -> Tensor:
        """The tensor, from all bytes of its storage; see `read`."""
        size = self.dtype.itemsize
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=self.dtype)
        last = self.offset + sum(
            (n - 1) * step for n, step in zip(self.shape, self.stride, strict=True)
        )
        if min((self.offset, *self.shape, *self.stride)) < 0 or (last + 1) * size > len(content):
            raise ValueError(
                f"storage {self.storage.key} has {len(content)} bytes, a tensor needs {(last + 1) * size}"
            )
        flat = torch.frombuffer(bytearray(content), dtype=torch.uint8)[
            : len(content) // size * size
        ].view(self.dtype)
        view = flat.as_strided(self.shape, self.stride, self.offset)
        return (
            view
            if view.is_contiguous() and view.numel() == flat.numel()
            else view.contiguous().clone()
        )


def read_torch_file(path: Path) -> Any:
    """What a file of PyTorch holds: containers, numbers, text, `LazyTensor`, and `Record` for everything else.

    Raises:
        CheckpointError: It is no such file, is damaged, or its pickle would run code (names the global).
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
            if head[:2] == b"PK":
                return _read_archive(path)
            if head[:1] != b"\x80":
                raise CheckpointError(
                    path, f"is no file of PyTorch: it begins with {head!r}; {_EXPECTED}"
                )
            file.seek(0)
            return _read_legacy(path, file)
    except ForbiddenGlobal as error:
        what = f"refused: its pickle names '{shortened(error)}', which would run code when loaded"
        raise CheckpointError(path, f"{what}; a checkpoint needs no such thing") from None
    except AmplifiedError as error:
        raise CheckpointError(path, f"refused: {error}; {_EXPECTED}") from None
    except _DAMAGE as error:
        size = path.stat().st_size if path.is_file() else 0
        raise CheckpointError(
            path,
            f"damaged or cut off ({size} bytes; {type(error).__name__}: {shortened(error)}); {_EXPECTED}",
        ) from error


class _Unpickler(pickle.Unpickler):
    """Imports nothing, and makes no more than a budget bears: see `ofa_foreign.formats.inert` and `bounds`."""

    def __init__(self, file: Any, storages: Callable[[Any], Any], budget: Budget) -> None:
        check_pickle(file, budget)
        super().__init__(file, encoding="utf-8")
        self._storages, self._budget = storages, budget

    def find_class(self, module: str, name: str) -> Any:
        """Tensors, plain containers, and inert classes for all else."""
        if module in ("torch", "torch.storage") and name in DTYPES:
            return DTYPES[name]
        if module == "torch" and isinstance(found := getattr(torch, name, None), torch.dtype):
            return found
        if (module, name) == ("torch", "Size"):
            return Metered(tuple, self._budget)
        if module in ("torch._utils", "torch._tensor") and name in _REBUILD:
            return partial(_REBUILD[name])
        if module in ("torch._utils", "torch._tensor") and name.startswith("_rebuild"):
            return partial(OtherTensor, name)
        return inert(module, name, self._budget)

    def persistent_load(self, saved: Any) -> Any:
        """A storage, by its key."""
        return self._storages(saved)


def _rebuild_tensor(storage: Storage, offset: int, shape: Any, stride: Any, *_: Any) -> LazyTensor:
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without storage")
    if max(len(shape), len(stride)) > _MOST_AXES:
        raise ValueError(f"a tensor of {len(shape)} axes")
    return LazyTensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _rebuild_from_type(rebuild: Any, _kind: Any, arguments: Any, *_: Any) -> Any:
    """A tensor of a class of its own, or with attributes: the tensor."""
    return rebuild(*arguments)


_REBUILD: Mapping[str, Callable[..., Any]] = {
    "_rebuild_tensor": _rebuild_tensor,
    "_rebuild_tensor_v2": _rebuild_tensor,
    "_rebuild_parameter": _rebuild_parameter,
    "_rebuild_parameter_with_state": _rebuild_parameter,
    "_rebuild_from_type": _rebuild_from_type,
    "_rebuild_from_type_v2": _rebuild_from_type,
}


def _read_archive(path: Path) -> Any:
    budget = Budget(path.stat().st_size)
    archive = zipfile.ZipFile(path)
    members = {info.filename: info for info in archive.infolist()}
    budget.spend(sum(info.file_size for info in members.values()))
    pickles = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        there = ", ".join(shortened(name) for name in list(members)[:5])
        what = f"is a zip archive without PyTorch's data.pkl; it holds {there}"
        raise CheckpointError(
            path, f"{what}; if that is a model's folder, unpack it and name the folder"
        )
    root = pickles[0].removesuffix("data.pkl")
    order = f"{root}byteorder"
    if order in members and archive.read(order) != sys.byteorder.encode():
        raise CheckpointError(path, "was written on a machine of another byte order")

    def read(key: str) -> bytes:
        return archive.read(members[f"{root}data/{key}"])

    def storage(saved: Any) -> Storage:
        kind, dtype, key, _, size = saved
        if not isinstance(dtype, torch.dtype):
            raise TypeError(f"a storage of {type(dtype).__name__}")
        if kind != "storage" or f"{root}data/{key}" not in members:
            raise ValueError(f"storage {shortened(key)} is missing")
        return Storage(str(key), dtype, int(size), read)

    return _Unpickler(io.BytesIO(archive.read(pickles[0])), storage, budget).load()


def _read_legacy(path: Path, file: BinaryIO) -> Any:
    """Magic number, protocol, system, the object, keys of storages, and each storage behind its length."""
    budget = Budget(path.stat().st_size)
    found: dict[str, Storage] = {}
    places: dict[str, tuple[int, int]] = {}

    def read(key: str) -> bytes:
        start, size = places[key]
        with path.open("rb") as again:
            again.seek(start)
            content = again.read(size)
        if len(content) != size:
            raise ValueError(f"storage {key} is cut off")
        return content

    def storage(saved: Any) -> Storage:
        if saved[0] == "module":
            return saved[1]
        kind, dtype, key, _, size, *view = saved
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise TypeError(f"a storage of {type(dtype).__name__}")
        if view and view[0] is not None:
            raise NotImplementedError("views of storages")
        return found.setdefault(str(key), Storage(str(key), dtype, int(size), read))

    first = _Unpickler(file, storage, budget).load()
    if first != LEGACY_MAGIC:
        return first
    for _ in range(2):
        _Unpickler(file, storage, budget).load()
    value = _Unpickler(file, storage, budget).load()
    end = path.stat().st_size
    for key in _Unpickler(file, storage, budget).load():
        (count,) = struct.unpack("<q", file.read(8))
        width = found[key].dtype.itemsize if key in found else 1
        places[str(key)] = (file.tell(), count * width)
        if count < 0 or file.tell() + count * width > end:
            raise ValueError(f"storage {key} is cut off")
        file.seek(count * width, io.SEEK_CUR)
    return value
