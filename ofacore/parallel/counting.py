"""Counts what processes send to each other, for benchmarks and tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_NAMES = {
    "allreduce_": "all-reduce",
    "allgather_": "all-gather",
    "_allgather_base_": "all-gather",
    "reduce_scatter_": "reduce-scatter",
    "_reduce_scatter_base_": "reduce-scatter",
    "broadcast_": "broadcast",
    "alltoall_base_": "all-to-all",
    "send": "send",
}


class CallCounter(TorchDispatchMode):
    """Collectives and messages of this process while it is active.

    Only tensors of floating-point numbers count: what else travels are flags, counts and shapes.

    Attributes:
        calls: Operation -> number of calls.
        payload: Operation -> bytes of the whole tensors: before they are scattered, or after they are gathered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.payload: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        namespace, _, name = func._schema.name.partition("::")
        if namespace == "c10d" and name in _NAMES:
            sizes = [_bytes(arg) for arg in args]
            if any(sizes):
                self.calls[_NAMES[name]] += 1
                self.payload[_NAMES[name]] += max(sizes)
        return func(*args, **(kwargs or {}))


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size() if value.dtype.is_floating_point else 0
    if isinstance(value, Iterable) and not isinstance(value, str | torch.ScriptObject):
        return sum(_bytes(each) for each in value)
    return 0
