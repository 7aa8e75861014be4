"""Steps between what a process holds alone and what its tensor group shares; each knows its own gradient.

Activations outside of the layers are *shared*: equal on all processes of the tensor group, with equal gradients.
With one process every function here returns its argument.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ofacore.parallel.megatron import megatron
from ofacore.parallel.process_groups import (
    sequence_parallel,
    tensor_group,
    tensor_rank,
    tensor_size,
)


def to_parts(x: Tensor) -> Tensor:
    """A shared tensor that each process uses for its own part; gradients are summed."""
    if tensor_size() == 1:
        return x
    return megatron("tensor_parallel.mappings").copy_to_tensor_model_parallel_region(x)  # type: ignore[no-any-return]


def summed(x: Tensor) -> Tensor:
    """The sum of all processes' tensors, shared."""
    if tensor_size() == 1:
        return x
    mappings = megatron("tensor_parallel.mappings")
    return mappings.reduce_from_tensor_model_parallel_region(x.contiguous())  # type: ignore[no-any-return]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        ctx.dim, ctx.size = dim, x.shape[dim]
        parts = [
            torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(tensor_size())
        ]
        dist.all_gather(parts, x.contiguous(), group=tensor_group())
        return torch.cat(parts, dim)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return grad.narrow(ctx.dim, tensor_rank() * ctx.size, ctx.size), None


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        ctx.dim = dim
        size = x.shape[dim] // tensor_size()
        return x.narrow(dim, tensor_rank() * size, size).contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return _Gather.apply(grad, ctx.dim), None


def gathered(x: Tensor, dim: int) -> Tensor:
    """All processes' parts along ``dim``, shared; the parts are equally long."""
    return x if tensor_size() == 1 else _Gather.apply(x, dim)  # type: ignore[no-any-return]


def own_share(x: Tensor, dim: int) -> Tensor:
    """This process's equal share of a shared tensor along ``dim``."""
    return x if tensor_size() == 1 else _Split.apply(x, dim)  # type: ignore[no-any-return]


def padding(positions: int) -> int:
    """Positions to add so that sequence parallelism can split them evenly."""
    return -positions % tensor_size() if sequence_parallel() else 0


def padded(x: Tensor) -> Tensor:
    """A stream [N, ...] with zeros (or False) behind it, up to a multiple of the tensor group."""
    more = padding(len(x))
    return torch.cat([x, x.new_zeros(more, *x.shape[1:])]) if more else x


def unpadded(x: Tensor, positions: int) -> Tensor:
    """A stream without what `padded` added."""
    return x if len(x) == positions else x[:positions]


def split_positions(x: Tensor) -> Tensor:
    """A shared stream [N, ...] -> this process's positions [ceil(N / size), ...] under sequence parallelism."""
    return own_share(padded(x), 0) if sequence_parallel() else x


def join_positions(x: Tensor, positions: int) -> Tensor:
    """The way back: the shared stream [N, ...]."""
    return unpadded(gathered(x, 0), positions) if sequence_parallel() else x


def each_position_summed(x: Tensor) -> Tensor:
    """This process's positions [n, ...] -> all positions [size * n, ...], used by each process for its own part."""
    mappings = megatron("tensor_parallel.mappings")
    return mappings.gather_from_sequence_parallel_region(x)  # type: ignore[no-any-return]


def summed_by_position(x: Tensor) -> Tensor:
    """The sum of all processes' tensors [size * n, ...] -> this process's positions [n, ...] of it."""
    mappings = megatron("tensor_parallel.mappings")
    return mappings.reduce_scatter_to_sequence_parallel_region(x.contiguous())  # type: ignore[no-any-return]


def exchanged(x: Tensor, group: dist.ProcessGroup, sent: list[int], received: list[int]) -> Tensor:
    """Rows [sum of sent, ...] to the processes of a group, so many to each -> the rows that they sent here."""
    mappings = megatron("tensor_parallel.mappings")
    return mappings.all_to_all(group, x, received, sent)  # type: ignore[no-any-return]
