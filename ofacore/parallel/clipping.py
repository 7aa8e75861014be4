"""The norm of a gradient that many processes hold together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from ofacore.parallel.process_groups import (
    data_group,
    expert_group,
    expert_size,
    layout,
    model_group,
    tensor_rank,
)
from ofacore.parallel.sharding import is_expert, is_sharded, split_dim


@torch.no_grad()
def gradient_norm(
    parameters: Mapping[str, Tensor],
    masters: Mapping[str, Tensor],
    counted: Callable[[str], bool],
    everywhere: bool,
    device: torch.device,
) -> Tensor:
    """Norm of all gradients, every parameter counted once, however many processes hold it or parts of it.

    Args:
        parameters: Name -> parameter, with its marks.
        masters: Name -> tensor that holds the gradient in ``grad``.
        counted: Whether this stage counts a parameter that several stages may hold.
        everywhere: Over all processes, which must call this together; otherwise over what this one holds alone.
        device: Where this process computes.
    """
    held = {name: master.grad for name, master in masters.items() if master.grad is not None}
    if not everywhere or layout().single:
        return torch.nn.utils.get_total_norm(list(held.values()), foreach=True)
    squares = torch.zeros(3, dtype=torch.float32, device=device)
    for name, gradient in held.items():
        parameter = parameters[name]
        if counted(name) and (split_dim(parameter) is not None or tensor_rank() == 0):
            kind = 2 if is_sharded(parameter) else int(is_expert(parameter))
            squares[kind] += torch.linalg.vector_norm(gradient, dtype=torch.float32).square()
    dist.all_reduce(squares, group=model_group())
    if expert_size() > 1:
        dist.all_reduce(squares[1], group=expert_group())
    if layout().fsdp:
        dist.all_reduce(squares[2], group=data_group())
    return squares.sum().sqrt()
