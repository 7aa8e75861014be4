"""Which part of a parameter a process holds, and what its gradient on one process is.

Three marks on parameters say everything that optimiser, clipping and checkpoints need to know:

- *split*: the tensor group holds it in parts along one dimension, cut as ``torch.chunk`` cuts;
- *partial*: every process of the tensor group holds all of it, but sees a part of its gradient: sum them;
- *expert*: a feed-forward expert that only this rank of the expert group holds.

Everything else is held by every process of the tensor group with equal gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ofacore.parallel.process_groups import (
    expert_size,
    sequence_parallel,
    tensor_group,
    tensor_rank,
    tensor_size,
)


def mark_split(parameter: Tensor, dim: int) -> None:
    """The tensor group holds this parameter in parts along ``dim`` (megatron's own marks)."""
    parameter.tensor_model_parallel = tensor_size() > 1  # type: ignore[attr-defined]
    parameter.partition_dim = dim  # type: ignore[attr-defined]
    parameter.partition_stride = 1  # type: ignore[attr-defined]


def split_dim(parameter: Tensor) -> int | None:
    """The dimension that a parameter is split along; None: it is whole."""
    return (
        int(parameter.partition_dim) if getattr(parameter, "tensor_model_parallel", False) else None
    )


def mark_partial(module: nn.Module | nn.Parameter) -> None:
    """Gradients of these parameters are to be summed over the tensor group."""
    for parameter in [module] if isinstance(module, nn.Parameter) else module.parameters():
        parameter.sequence_parallel = tensor_size() > 1  # type: ignore[union-attr]


def mark_by_position(module: nn.Module | nn.Parameter | None) -> None:
    """Under sequence parallelism these parameters see a part of the positions, so a part of their gradient."""
    if module is not None and sequence_parallel():
        mark_partial(module)


def is_partial(parameter: Tensor) -> bool:
    """Whether a process of the tensor group sees only a part of the gradient."""
    return bool(getattr(parameter, "sequence_parallel", False))


def mark_expert(module: nn.Module) -> None:
    """These parameters exist on one rank of the expert group only."""
    for parameter in module.parameters():
        parameter.expert_parallel = expert_size() > 1  # type: ignore[attr-defined]


def is_expert(parameter: Tensor) -> bool:
    """Whether only one rank of the expert group holds the parameter."""
    return bool(getattr(parameter, "expert_parallel", False))


def part_of(size: int, group_size: int | None = None, rank: int | None = None) -> slice:
    """A process's share of ``size`` rows, as ``torch.chunk`` cuts them; the last shares may be short or empty.

    Default: this process's share in the tensor group.
    """
    group_size = tensor_size() if group_size is None else group_size
    rank = tensor_rank() if rank is None else rank
    each = -(-size // group_size)
    start = min(size, rank * each)
    return slice(start, min(size, start + each))


def own_part(whole: Tensor, dim: int | None) -> Tensor:
    """This process's part of a tensor that the tensor group splits; the tensor itself where it is not split."""
    if dim is None or tensor_size() == 1:
        return whole
    part = part_of(whole.shape[dim])
    return whole.narrow(dim, part.start, part.stop - part.start)


def whole_shape(parameter: Tensor) -> tuple[int, ...]:
    """Shape of the parameter that the tensor group holds together; it must be cut evenly."""
    shape, dim = list(parameter.shape), split_dim(parameter)
    if dim is not None:
        shape[dim] *= tensor_size()
    return tuple(shape)


def whole_tensor(part: Tensor, dim: int | None) -> Tensor:
    """The whole from the parts of the tensor group's processes, which must call this together."""
    return part if dim is None or tensor_size() == 1 else joined(part, dim, tensor_group())


def joined(part: Tensor, dim: int, group: dist.ProcessGroup) -> Tensor:
    """Parts of all processes of a group along ``dim``, in which they may differ in length, behind one another."""
    sizes = _lengths(part, dim, group)
    longest = max(sizes)
    row = part.transpose(0, dim)
    padded = torch.cat([row, row.new_zeros(longest - len(row), *row.shape[1:])]).contiguous()
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded, group=group)
    whole = torch.cat([each[:size] for each, size in zip(parts, sizes, strict=True)])
    return whole.transpose(0, dim).contiguous()


def _lengths(part: Tensor, dim: int, group: dist.ProcessGroup) -> Sequence[int]:
    own = torch.tensor([part.shape[dim]], device=part.device)
    found = [torch.empty_like(own) for _ in range(group.size())]
    dist.all_gather(found, own, group=group)
    return [int(each) for each in found]


def from_all(own: Mapping[str, Tensor], group: dist.ProcessGroup) -> dict[str, Tensor]:
    """Tensors of all processes of a group by name; what several hold comes from the first of them.

    Every process of the group must call this together.
    """
    known: list[dict[str, tuple[tuple[int, ...], torch.dtype]]] = [{} for _ in range(group.size())]
    dist.all_gather_object(
        known, {name: (tuple(v.shape), v.dtype) for name, v in own.items()}, group=group
    )
    device = next((value.device for value in own.values()), torch.device("cpu"))
    found: dict[str, Tensor] = {}
    for rank, names in enumerate(known):
        for name, (shape, dtype) in names.items():
            if name not in found:
                mine = rank == group.rank()
                value = (
                    own[name].contiguous()
                    if mine
                    else torch.empty(shape, dtype=dtype, device=device)
                )
                dist.broadcast(value, group=group, group_src=rank)
                found[name] = value
    return found


def is_sharded(parameter: Tensor) -> bool:
    """Whether FSDP holds the parameter in parts over the data ranks, and sums its gradient itself."""
    return hasattr(parameter, "to_local")


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined, no-any-return]
