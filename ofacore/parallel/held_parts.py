"""What a process holds of a tensor, and where that lies in the whole: how torch's distributed checkpoints know it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ofacore.parallel.process_groups import data_rank, data_size, tensor_size
from ofacore.parallel.sharded_optimizer import cut
from ofacore.parallel.sharding import part_of


def piece(part: Tensor, parameter: Tensor, rows: int | None = None) -> Tensor:
    """``part`` with its place in the whole noted on it (torch's ``CheckpointableTensor``).

    Args:
        part: What this process holds, cut as ``parameter`` is; a single number belongs to every process.
        parameter: Says how it is cut.
        rows: Length of the whole where it is cut along dimension 0; default: every process holds equally much.

    Returns:
        A tensor that shares the memory of ``part``.
    """
    found = part.detach()
    dim, sharded = cut(parameter)
    if part.ndim == 0 or (dim is None and not sharded):
        return found
    whole, start = list(part.shape), [0] * part.ndim
    if sharded:
        whole[0] = parameter.shape[0]
        start[0] = part_of(whole[0], data_size(), data_rank()).start
    if dim is not None:
        whole[dim] = rows if rows is not None and dim == 0 else whole[dim] * tensor_size()
        start[dim] += part_of(whole[dim]).start
    return placed(found, tuple(whole), tuple(start))


def placed(part: Tensor, whole: tuple[int, ...], start: tuple[int, ...]) -> Tensor:
    """A view of a tensor that lies at ``start`` in a tensor of shape ``whole``."""
    found = part.view_as(part)
    found.global_shape = whole  # type: ignore[attr-defined]
    found.global_offsets = (start,)  # type: ignore[attr-defined]
    found.local_offsets = ((0,) * part.ndim,)  # type: ignore[attr-defined]
    found.local_sizes = (tuple(part.shape),)  # type: ignore[attr-defined]
    return found


def whole_size(part: Tensor) -> tuple[int, ...]:
    """Shape of the whole that a piece belongs to."""
    return tuple(getattr(part, "global_shape", part.shape))


def on_cpu(pieces: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies in memory, which the next step does not change."""
    copies = {}
    for name, value in pieces.items():
        copy = torch.empty_like(value, device="cpu").copy_(value)
        if hasattr(value, "global_shape"):
            copy = placed(copy, value.global_shape, value.global_offsets[0])  # type: ignore[attr-defined]
        copies[name] = copy
    return copies
