"""Normalisation layers, among them one over a dimension that tensor parallelism splits."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ofacore.parallel.process_groups import tensor_size
from ofacore.parallel.regions import summed, to_parts
from ofacore.parallel.sharding import mark_split

NormType = Literal["layernorm", "rmsnorm"]


def norm(kind: NormType, size: int) -> nn.Module:
    """Normalisation over a last dimension that every process holds whole."""
    return nn.LayerNorm(size) if kind == "layernorm" else nn.RMSNorm(size, eps=1e-6)


class SplitNorm(nn.Module):
    """Layer normalisation over a last dimension that is split over processes.

    Each process holds ``size / tensor size`` features; mean and variance are taken over all of them.
    """

    def __init__(self, size: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.parts = tensor_size()
        self.size, self.eps = size, eps
        self.weight = nn.Parameter(torch.ones(size // self.parts))
        self.bias = nn.Parameter(torch.zeros(size // self.parts))
        mark_split(self.weight, 0)
        mark_split(self.bias, 0)

    def forward(self, x: Tensor) -> Tensor:
        """``x [..., size / tensor size]``, normalised."""
        if self.parts == 1:
            return nn.functional.layer_norm(x, (self.size,), self.weight, self.bias, self.eps)
        wide = x.float()
        centred = wide - self._sum(wide) / self.size
        variance = self._sum(centred * centred) / self.size
        return (centred * torch.rsqrt(variance + self.eps)).type_as(x) * self.weight + self.bias

    def _sum(self, x: Tensor) -> Tensor:
        return to_parts(summed(x.sum(-1, keepdim=True)))
