"""Codes of pictures to positions of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import nn

from ofacore.protocols import PositionGrid

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import BuildContext, Options

_WAVES = 16
_LONGEST = 100.0
"""Cells on a side up to which waves tell places well apart."""


class CodesAdapter(nn.Module):
    """``image_vqgan``: the token's embedding, and where its cell is in the picture.

    Masked codes are all the same token, so that nothing else would tell them apart.
    """

    located: ClassVar[bool] = True

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self._embedding = (context.embedding,)
        self.position = nn.Linear(4 * _WAVES, context.hidden)
        side = int(context.options["grid"])
        self.grid = PositionGrid(side, side)

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """One position for each token."""
        return shape[0]

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """Running numbers on every axis; the segment says where its tokens stand."""
        return np.repeat(np.arange(shape[0], dtype=np.int64)[:, None], 3, axis=1)

    def embed(
        self,
        features: Mapping[str, Tensor],
        shapes: Sequence[tuple[int, ...]],
        coordinates: Tensor | None = None,
    ) -> Tensor:
        """States [n, H] of ``tokens`` int64 [n]; a picture's cells have rows y - t and columns x - t."""
        tokens = features["tokens"]
        states: Tensor = self._embedding[0](tokens)
        if coordinates is None:
            coordinates = torch.zeros(len(tokens), 3, dtype=torch.int64, device=tokens.device)
        cells = coordinates[:, 1:] - coordinates[:, :1]
        return states + self.position(_waves(cells).to(self.position.weight.dtype))


def _waves(cells: Tensor) -> Tensor:
    """[n, 4 * waves]: sine and cosine of rows and columns int64 [n, 2] at geometric frequencies."""
    frequencies = _LONGEST ** (-torch.arange(_WAVES, device=cells.device) / _WAVES)
    angles = (cells.float()[:, :, None] * frequencies).flatten(1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
