"""Frames of a target, clean or noised, to positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

_BANDS = 16
_LONGEST = 10_000.0
_LEVEL_SCALE = 1000.0


class FrameEmbedding(nn.Module):
    """An MLP over the frames of a position, scaled and shifted by their share of noise.

    Args:
        width: Numbers of a position.
        hidden: Width of the states, H.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.width = width
        self.frames = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.norm = nn.LayerNorm(hidden)
        self.place = nn.Linear(4 * _BANDS, hidden)
        self.level = nn.Sequential(
            nn.Linear(2 * _BANDS, hidden), nn.GELU(), nn.Linear(hidden, 2 * hidden)
        )

    def forward(
        self, clips: Sequence[Tensor], levels: Sequence[Tensor], steps: Sequence[int]
    ) -> list[Tensor]:
        """States [positions, H] of each clip.

        Args:
            clips: Frames [frames, bins].
            levels: Share of noise [positions] of each.
            steps: Frames of a position of each.
        """
        rows = [self._packed(clip, step) for clip, step in zip(clips, steps, strict=True)]
        places = torch.cat([_places(len(own), own.device) for own in rows])
        joined, noise = torch.cat(rows), torch.cat(list(levels))
        dtype = self.place.weight.dtype
        states = self.norm(self.frames(joined.to(dtype)))
        scale, shift = self.level(_waves(noise * _LEVEL_SCALE, _BANDS).to(dtype)).chunk(2, dim=1)
        found = states * (1 + scale) + shift + self.place(places.to(dtype))
        return list(found.split([len(own) for own in rows]))

    def _packed(self, clip: Tensor, step: int) -> Tensor:
        """[positions, width], zeros behind the last frame."""
        lacking = -len(clip) % step
        rows = pad(clip, (0, 0, 0, lacking)).reshape(-1, step * clip.shape[1])
        return pad(rows, (0, self.width - rows.shape[1]))


def _places(count: int, device: torch.device) -> Tensor:
    """[count, 4 * bands]: waves of each position's number, and of its share of the whole in octaves."""
    numbers = torch.arange(count, device=device)
    octaves = math.pi * 2.0 ** (torch.arange(_BANDS, device=device) / 2)
    shares = ((numbers + 0.5) / count)[:, None] * octaves
    return torch.cat([_waves(numbers.float(), _BANDS), shares.sin(), shares.cos()], dim=1)


def _waves(numbers: Tensor, bands: int) -> Tensor:
    """[n, 2 * bands]: sine and cosine of numbers at geometric frequencies (Vaswani et al. 2017)."""
    frequencies = _LONGEST ** (-torch.arange(bands, device=numbers.device) / bands)
    angles = numbers.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
