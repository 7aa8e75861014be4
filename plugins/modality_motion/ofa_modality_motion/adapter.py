"""Frames, clean or noised, to positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import BuildContext, Options

_BANDS = 8
_LONGEST = 10_000.0


class MotionAdapter(nn.Module):
    """``motion``: one position a frame; an MLP, scaled and shifted by the noise level where there is noise."""

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        hidden, self._width = context.hidden, int(context.options["max_dim"])
        self.frames = nn.Sequential(
            nn.Linear(self._width, hidden), nn.GELU(), nn.Linear(hidden, hidden)
        )
        self.norm = nn.LayerNorm(hidden)
        self.position = nn.Linear(4 * _BANDS, hidden)
        self.level = nn.Sequential(
            nn.Linear(4 * _BANDS, hidden), nn.GELU(), nn.Linear(hidden, 2 * hidden)
        )

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """One position a frame."""
        return shape[0]

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [frames, 3]: (i, i, i)."""
        return np.repeat(np.arange(shape[0])[:, None], 3, axis=1)

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of frames, H].

        Args:
            features: ``frames`` [sum of frames, max_dim] and ``level`` int64 [sum of frames], 0 where clean.
            shapes: (frames,) of each clip.

        Raises:
            ValueError: The preprocessor pads to another width.
        """
        frames, level = features["frames"], features["level"]
        if frames.shape[1] != self._width:
            raise ValueError(
                f"adapter motion: frames are {frames.shape[1]} wide, option max_dim={self._width}; "
                "preprocessor, adapter and head need the same max_dim"
            )
        dtype = self.position.weight.dtype
        states = self.norm(self.frames(frames.to(dtype)))
        scale, shift = self.level(_waves(level, 2 * _BANDS).to(dtype)).chunk(2, dim=1)
        noisy = (level > 0)[:, None].to(dtype)
        return (
            states * (1 + noisy * scale)
            + noisy * shift
            + self.position(_places(shapes, frames.device).to(dtype))
        )


def _places(shapes: Sequence[tuple[int, ...]], device: torch.device) -> Tensor:
    """[sum of frames, 4 * bands]: waves of each frame's number, and of its share of the clip in octaves."""
    pieces = []
    for (count,) in dict.fromkeys(map(tuple, shapes)):
        numbers = torch.arange(count, device=device)
        octaves = torch.pi * 2.0 ** torch.arange(_BANDS, device=device)
        shares = ((numbers + 0.5) / count)[:, None] * octaves
        pieces.append(
            (count, torch.cat([_waves(numbers, _BANDS), shares.sin(), shares.cos()], dim=1))
        )
    table = dict(pieces)
    return torch.cat([table[count] for (count,) in shapes])


def _waves(numbers: Tensor, bands: int) -> Tensor:
    """[n, 2 * bands]: sine and cosine of integers at geometric frequencies (Vaswani et al. 2017)."""
    frequencies = _LONGEST ** (-torch.arange(bands, device=numbers.device) / bands)
    angles = numbers.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)
