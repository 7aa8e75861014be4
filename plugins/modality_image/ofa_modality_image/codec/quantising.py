"""Finite scalar quantisation (Mentzer et al. 2023): a code is a few numbers, each rounded to one of some levels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

_MARGIN = 1e-3


class FiniteScalars(nn.Module):
    """Rounds the last axis [..., D] to ``levels`` numbers on each of D axes; gradients pass through."""

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        counts = torch.tensor(list(levels))
        steps = [math.prod(levels[:axis]) for axis in range(len(levels))]
        self.register_buffer("levels", counts, persistent=False)
        self.register_buffer("steps", torch.tensor(steps), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """Rounded numbers in -1 to 1."""
        bounded = self._bounded(z)
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded / (self.levels // 2)

    def codes(self, rounded: Tensor) -> Tensor:
        """int64 [...] of what `forward` gives."""
        half = self.levels // 2
        digits = (rounded * half).round().long() + half
        return (digits * self.steps).sum(-1)

    def values(self, codes: Tensor) -> Tensor:
        """What `forward` gave for codes int64 [...]: [..., D]."""
        digits = codes[..., None] // self.steps % self.levels
        half = self.levels // 2
        return (digits - half) / half

    def commitment(self, z: Tensor, quantised: Tensor) -> Tensor:
        """0: there is no codebook to be held to."""
        return z.new_zeros(())

    def learn(self, z: Tensor, draw: torch.Generator) -> None:
        """Nothing: levels stand where they stand."""

    def _bounded(self, z: Tensor) -> Tensor:
        half = (self.levels - 1) * (1 + _MARGIN) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        return (z + (offset / half).atanh()).tanh() * half - offset
