"""Gradients of one process made those of the whole step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from ofacore.parallel.process_groups import (
    data_group,
    data_size,
    expert_data_group,
    expert_size,
    layout,
    tensor_group,
)
from ofacore.parallel.sharding import is_expert, is_partial, is_sharded

BUCKET_ELEMENTS = 16 * 2**20
"""Numbers that are summed in one collective."""


@torch.no_grad()
def sum_gradients(parameters: Mapping[str, Tensor], masters: Mapping[str, Tensor]) -> None:
    """Sum partial gradients over the tensor group, and all gradients over the processes with other samples.

    A parameter without a gradient on any of them stays without; one that only others have a gradient for gets zeros.
    Every process of the run must call this together.

    Args:
        parameters: Name -> parameter, with its marks; equal names in equal order on the processes of a group.
        masters: Name -> tensor that holds the gradient in ``grad``.
    """
    if layout().single:
        return
    own = [name for name, parameter in parameters.items() if not is_sharded(parameter)]
    for names, group in _by_group(own, parameters):
        _agree(names, masters, group)
    partial = [name for name, parameter in parameters.items() if is_partial(parameter)]
    _sum([masters[name] for name in partial], tensor_group())
    for names, group in _by_group(own, parameters):
        _sum([masters[name] for name in names], group)


def replicas(parameter: Tensor) -> dist.ProcessGroup:
    """The processes that hold the same part of a parameter and see other samples."""
    return expert_data_group() if is_expert(parameter) else data_group()


def _by_group(
    names: Sequence[str], parameters: Mapping[str, Tensor]
) -> Iterator[tuple[list[str], dist.ProcessGroup]]:
    if data_size() > 1:
        yield [name for name in names if not is_expert(parameters[name])], data_group()
    if expert_size() > 1 and layout().expert_data > 1:
        yield [name for name in names if is_expert(parameters[name])], expert_data_group()


def _agree(names: Sequence[str], masters: Mapping[str, Tensor], group: dist.ProcessGroup) -> None:
    if not names:
        return
    device = masters[names[0]].device
    present = torch.tensor(
        [masters[name].grad is not None for name in names], dtype=torch.uint8, device=device
    )
    dist.all_reduce(present, dist.ReduceOp.MAX, group=group)
    for name, found in zip(names, present.tolist(), strict=True):
        if found and masters[name].grad is None:
            masters[name].grad = torch.zeros(
                masters[name].shape, dtype=masters[name].dtype, device=device
            )


def _sum(masters: Sequence[Tensor], group: dist.ProcessGroup) -> None:
    gradients = [master.grad for master in masters if master.grad is not None]
    for bucket in buckets(gradients):
        if len(bucket) == 1 and bucket[0].is_contiguous():
            dist.all_reduce(bucket[0], group=group)
            continue
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        dist.all_reduce(flat, group=group)
        parts = flat.split([gradient.numel() for gradient in bucket])
        torch._foreach_copy_(bucket, [p.view(g.shape) for p, g in zip(parts, bucket, strict=True)])


def buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors in order, together at most `BUCKET_ELEMENTS` numbers (a larger one alone), of one type each."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and (size + tensor.numel() > BUCKET_ELEMENTS or tensor.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket
