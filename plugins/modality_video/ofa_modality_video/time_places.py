"""What tells a model when a step of a clip is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

_BANDS = 8
_LONGEST = 1000.0


class TimePlaces(nn.Module):
    """A projection of waves of each step's number, and of its share of the clip in octaves."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.project = nn.Linear(4 * _BANDS, hidden)

    def forward(self, steps: int) -> Tensor:
        """[steps, H]."""
        weight = self.project.weight
        return self.project(waves(steps, weight.device).to(weight.dtype))  # type: ignore[no-any-return]


def waves(steps: int, device: torch.device) -> Tensor:
    """[steps, 4 * bands]: sine and cosine of numbers at geometric frequencies (Vaswani et al. 2017), and of shares."""
    numbers = torch.arange(steps, device=device)
    bands = torch.arange(_BANDS, device=device)
    slow = numbers[:, None] * _LONGEST ** (-bands / _BANDS)
    octaves = ((numbers + 0.5) / steps)[:, None] * torch.pi * 2.0**bands
    return torch.cat([slow.sin(), slow.cos(), octaves.sin(), octaves.cos()], dim=1)
