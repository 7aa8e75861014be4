"""A GPU that is not there: its tensors compute on the CPU, keep to the rules of a GPU, and count what a GPU would do.

Within `PretendedGpu` the device ``pretended`` exists. An operation on tensors of both devices fails as on a GPU, and
two things are counted: kernels launched, and waits of the host for the device, by the line of code that asked.
"""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
from torch.utils.weak import WeakIdKeyDictionary

_WAITS = frozenset(
    {
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "_unique",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "unique_dim_consecutive",
        "equal",
        "is_nonzero",
        "bincount",
        "allclose",
    }
)
_NO_KERNEL = frozenset(
    {
        "detach",
        "alias",
        "lift_fresh",
        "empty",
        "empty_like",
        "empty_strided",
        "new_empty",
        "new_empty_strided",
        "_local_scalar_dense",
        "is_pinned",
        "set_data",
        "is_same_size",
        "resize_",
        "equal",
    }
)
_INDEXED = frozenset({"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"})
"""They take indices from the CPU, at the price of a copy."""
DEVICE = "pretended"
"""Name of the device."""
_ROOT = Path(torch.__file__).parent.parent


class DeviceMixError(RuntimeError):
    """An operation got tensors of both devices."""


class PretendedTensor(Tensor):
    """A tensor of the pretended GPU; ``inner`` holds its numbers."""

    inner: Tensor
    __slots__: ClassVar[list[str]] = ["inner"]

    @staticmethod
    def __new__(cls: type[PretendedTensor], inner: Tensor) -> PretendedTensor:
        made: PretendedTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.shape,
            inner.stride(),
            inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(DEVICE, 0),
        )
        made.inner = inner
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"PretendedTensor({self.inner})"

    def tolist(self) -> Any:  # type: ignore[override]
        """By way of the host, as a GPU's."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(
        cls,
        function: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        raise DeviceMixError(f"{function} on a tensor of the pretended GPU outside of PretendedGpu")


class PretendedGpu(TorchDispatchMode):
    """Makes the device ``pretended`` exist within a ``with`` statement.

    Attributes:
        waits: ``file:line operation`` -> how often the host waited there.
        kernels: Operation -> how often it was launched.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.kernels: Counter[str] = Counter()
        self._pinned = WeakIdKeyDictionary()
        self._lifts: list[bool] = []

    def __enter__(self) -> PretendedGpu:
        _set_up()
        self._lifts.append(torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(self._lifts.pop())

    def forget(self) -> None:
        """Count from zero."""
        self.waits.clear()
        self.kernels.clear()

    def to_device(self, module: nn.Module) -> nn.Module:
        """Move a module's parameters and buffers, in place; parameters keep their attributes."""
        moved: dict[int, nn.Parameter] = {}
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None and id(parameter) not in moved:
                    copy = nn.Parameter(
                        PretendedTensor(parameter.detach().clone()), parameter.requires_grad
                    )
                    copy.__dict__.update(parameter.__dict__)
                    moved[id(parameter)] = copy
                if parameter is not None:
                    part._parameters[name] = moved[id(parameter)]
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = PretendedTensor(buffer.clone())
        return module

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name, kwargs = function._opname, dict(kwargs or {})
        if name in ("is_pinned", "_pin_memory", "pin_memory"):
            return self._pinning(name, args[0])
        flat, _ = tree_flatten((args, kwargs))
        ours = [each for each in flat if isinstance(each, PretendedTensor)]
        if name in ("_to_copy", "copy_") and (ours or _is_ours(kwargs.get("device"))):
            return self._copied(name, function, args, kwargs)
        made_here = _is_ours(kwargs.get("device"))
        if not ours and not made_here:
            return function(*args, **kwargs)
        self._check(name, flat)
        self._count(name, function, args, kwargs)
        if made_here:
            kwargs["device"] = torch.device("cpu")
        found = function(*tree_map(_inner, args), **tree_map(_inner, kwargs))
        if name in _WAITS and not isinstance(found, Tensor | tuple):
            return found
        return _results(found, flat)

    def _pinning(self, name: str, tensor: Tensor) -> Any:
        if name == "is_pinned":
            return tensor in self._pinned
        pinned = tensor.clone()
        self._pinned[pinned] = True
        return pinned

    def _copied(self, name: str, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        source = args[1] if name == "copy_" else args[0]
        into = args[0] if name == "copy_" else None
        here = isinstance(source, PretendedTensor)
        wanted = kwargs.pop("device", None)
        if into is not None:
            there = isinstance(into, PretendedTensor)
        elif wanted is not None:
            there = _is_ours(wanted)
        else:
            there = here
        quick = kwargs.get("non_blocking", False) or (len(args) > 2 and args[2])
        scalar = into is not None and source.dim() == 0
        if here != there and not scalar and not (there and quick and source in self._pinned):
            goal = "device" if there else "host"
            self._wait(f"copy to the {goal}")
        self.kernels[name] += 1
        found = function(*tree_map(_inner, args), **kwargs)
        if into is not None:
            return into
        return PretendedTensor(found) if there else found

    def _check(self, name: str, flat: Sequence[Any]) -> None:
        hosts = [
            each
            for each in flat
            if isinstance(each, Tensor) and not isinstance(each, PretendedTensor) and each.dim()
        ]
        if any(isinstance(each, torch.Generator) and each.device.type == "cpu" for each in flat):
            raise DeviceMixError(
                f"{name} at {_place()}: random numbers of the CPU's generator for the GPU"
            )
        if not hosts:
            return
        if name not in _INDEXED:
            shapes = [tuple(each.shape) for each in hosts]
            raise DeviceMixError(
                f"{name} at {_place()}: tensors {shapes} of the CPU among those of the GPU"
            )
        self._wait("index from the host")

    def _count(
        self, name: str, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        unknown = (
            name == "repeat_interleave" and len(args) == 1 and kwargs.get("output_size") is None
        )
        if name in _WAITS or unknown:
            self._wait(name)
        if name in _INDEXED and any(
            each is not None and each.dtype in (torch.bool, torch.uint8) for each in args[1]
        ):
            self._wait(f"{name} by a mask")
        view = any(
            each.alias_info is not None and not each.alias_info.is_write
            for each in function._schema.returns
        )
        if not view and name not in _NO_KERNEL:
            self.kernels[name] += 1

    def _wait(self, what: str) -> None:
        self.waits[f"{_place()} {what}"] += 1


@cache
def _set_up() -> None:
    """Give torch's device of private use a name; it stays for as long as the process lives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _setup_privateuseone_for_python_backend(DEVICE)


def _is_ours(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, PretendedTensor) else value


def _results(found: Any, given: Sequence[Any]) -> Any:
    """Results as tensors of the device; one that was written to is the one that was given."""
    known = {id(each.inner): each for each in given if isinstance(each, PretendedTensor)}

    def outer(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return known.get(id(value)) if id(value) in known else PretendedTensor(value)

    return tree_map(outer, found)


def _place() -> str:
    """File and line of the innermost frame that is neither torch's nor of this file."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if (
            path != Path(__file__)
            and not path.is_relative_to(_ROOT)
            and not str(path).startswith("<")
        ):
            return f"{'/'.join(path.parts[-3:])}:{frame.f_lineno}"
        frame = frame.f_back
    return "torch"
