"""What an optimiser needs to know where processes share its work.

ZeRO-1 (Rajbhandari et al. 2019): every data rank keeps the state of some parameters, updates them, and sends them to
the others. Own code: ``ZeroRedundancyOptimizer`` of torch cannot leave parameters without a gradient alone, and knows
neither masters nor the tensor group.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from ofacore.parallel.gradients import buckets, replicas
from ofacore.parallel.process_groups import data_group, data_rank, data_size, layout, tensor_size
from ofacore.parallel.sharding import is_sharded, joined, own_part, part_of, split_dim, whole_tensor


def owners(parameters: Mapping[str, Tensor]) -> dict[str, int]:
    """Parameter -> rank, among the processes that hold it, that keeps its state.

    The largest first, each to the rank with the least so far. Empty where all keep everything.
    """
    if not layout().zero or data_size() == 1:
        return {}
    held: dict[dist.ProcessGroup, list[int]] = {}
    found = {}
    for name in sorted(parameters, key=lambda name: (-parameters[name].numel(), name)):
        loads = held.setdefault(replicas(parameters[name]), [0] * replicas(parameters[name]).size())
        found[name] = loads.index(min(loads))
        loads[found[name]] += parameters[name].numel()
    return found


def is_owner(parameter: Tensor, owner: int | None) -> bool:
    """Whether this process keeps the state of a parameter."""
    return owner is None or replicas(parameter).rank() == owner


@torch.no_grad()
def share_updates(parameters: Mapping[str, Tensor], owner_of: Mapping[str, int]) -> None:
    """Send every updated parameter from its owner to the others; all of them must call this together."""
    groups: dict[tuple[dist.ProcessGroup, int], list[Tensor]] = {}
    for name in sorted(owner_of.keys() & parameters.keys()):
        place = replicas(parameters[name]), owner_of[name]
        groups.setdefault(place, []).append(parameters[name].detach())
    for (group, owner), tensors in groups.items():
        if group.size() > 1:
            for bucket in buckets(tensors):
                _broadcast(bucket, group, owner)


def _broadcast(bucket: list[Tensor], group: dist.ProcessGroup, owner: int) -> None:
    flat = torch.cat([tensor.flatten() for tensor in bucket])
    dist.broadcast(flat, group=group, group_src=owner)
    if group.rank() != owner:
        parts = flat.split([tensor.numel() for tensor in bucket])
        torch._foreach_copy_(bucket, [p.view(t.shape) for p, t in zip(parts, bucket, strict=True)])


def cut(parameter: Tensor) -> tuple[int | None, bool]:
    """How processes share a parameter: the dimension that the tensor group splits, and whether FSDP splits the rest."""
    return split_dim(parameter) if tensor_size() > 1 else None, is_sharded(parameter)


def whole_of(part: Tensor, parameter: Tensor) -> Tensor:
    """The whole of something that is cut as a parameter is; all processes that share it must call this together."""
    dim, sharded = cut(parameter)
    if sharded:
        part = joined(part, 0, data_group())
    return whole_tensor(part, dim)


def part_like(whole: Tensor, parameter: Tensor) -> Tensor:
    """This process's part of a whole, cut as a parameter is."""
    dim, sharded = cut(parameter)
    part = own_part(whole, dim)
    return part[part_of(len(part), data_size(), data_rank())] if sharded else part
