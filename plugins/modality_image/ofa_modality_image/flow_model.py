"""Patches with noise in them: to positions of the model, and from positions to clean patches.

Letters in names: N patches of all pictures, W numbers of a patch, H width of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import nn

from ofa_modality_image.adapter import BANDS, place
from ofa_modality_image.grid import grid_coordinates
from ofa_modality_image.patches import CHANNELS
from ofacore.protocols import PositionGrid

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import BuildContext, HeadContext, Options

_WAVES = 32
_FASTEST = 1000.0
"""Waves of the level are told apart up to a thousandth."""


def width_of(options: Options) -> int:
    """Numbers of a patch, W."""
    patch = int(options["patch"])
    return patch * patch * CHANNELS


class FlowAdapter(nn.Module):
    """``image_flow``: an MLP on each patch, scaled and shifted by how much noise is in it, and its place."""

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        hidden, self._width = context.hidden, width_of(context.options)
        self.patches = nn.Sequential(
            nn.Linear(self._width, hidden), nn.GELU(), nn.Linear(hidden, hidden)
        )
        self.norm = nn.LayerNorm(hidden)
        self.position = nn.Linear(4 * BANDS, hidden)
        self.level = nn.Sequential(
            nn.Linear(2 * _WAVES, hidden), nn.GELU(), nn.Linear(hidden, 2 * hidden)
        )
        side = int(context.options["grid"])
        self.grid = PositionGrid(side, side)

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """One position a patch."""
        return shape[0] * shape[1]

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [patches, 3]: (0, y, x), row by row."""
        return grid_coordinates(shape[0], shape[1])

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [N, H].

        Args:
            features: ``patches`` [N, W] and ``level`` [N], from 0, noise alone, to 1, none.
            shapes: Rows and columns of patches of each picture.

        Raises:
            ValueError: The preprocessor cuts other patches.
        """
        patches, level = features["patches"], features["level"].float()
        if patches.shape[1] != self._width:
            raise ValueError(
                f"adapter image_flow: patches of {patches.shape[1]} numbers, but its option patch asks for "
                f"{self._width}; set patch for the preprocessor alone"
            )
        dtype = self.position.weight.dtype
        states = self.norm(self.patches(patches.to(dtype)))
        scale, shift = self.level(_waves(level).to(dtype)).chunk(2, dim=1)
        noisy = (level < 1)[:, None].to(dtype)
        tables = {
            shape: place(*shape, patches.device).to(dtype) for shape in set(map(tuple, shapes))
        }
        places = torch.cat([tables[tuple(shape)] for shape in shapes])
        return states * (1 + noisy * scale) + noisy * shift + self.position(places)


class FlowHead(nn.Module):
    """``image_flow``: an MLP from every position to its clean patch."""

    positionwise: ClassVar[bool] = True

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        hidden = context.hidden
        self.layers = nn.Sequential(
            nn.LayerNorm(hidden),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, width_of(context.options)),
        )

    def forward(self, hidden: Tensor, ctx: HeadContext) -> Tensor:
        """Clean patches [m, W] of states [m, H]."""
        return self.layers(hidden)  # type: ignore[no-any-return]


def _waves(level: Tensor) -> Tensor:
    """[N, 2 * waves]: sine and cosine of levels at geometric frequencies (Vaswani et al. 2017)."""
    powers = torch.arange(_WAVES, device=level.device) / (_WAVES - 1)
    angles = level[:, None] * _FASTEST**powers
    return torch.cat([angles.sin(), angles.cos()], dim=1)
