"""Positions of a table that are tokens or numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ofacore.protocols import BuildContext, Options

_WAVES = 8
_NUMBERS = 2


class CellsAdapter(nn.Module):
    """``structure_cells``: tokens by the shared embedding, numbers by an MLP over periodic features.

    Periodic features are sine and cosine of the distance from the column's mean at frequencies that are learned
    (Gorishniy et al. 2022, On embeddings for numerical features in tabular deep learning).
    """

    axes: ClassVar[int] = 1

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self._embedding = (context.embedding,)
        self.frequencies = nn.Parameter(2.0 ** torch.linspace(-1, 4, _WAVES))
        width = _NUMBERS + 2 * _WAVES
        self.numbers = nn.Sequential(
            nn.Linear(width, context.hidden),
            nn.GELU(),
            nn.Linear(context.hidden, context.hidden),
        )

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """One position for each token or number."""
        return shape[0]

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """int64 [n, 3]: (i, i, i)."""
        return np.repeat(np.arange(shape[0], dtype=np.int64)[:, None], 3, axis=1)

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [sum of n, H].

        Args:
            features: ``tokens`` int64 [sum of n], and ``numbers`` [sum of n, 3]: 1 where a number stands, its distance
                from the mean of its column in deviations, its magnitude.
            shapes: (n,) of each table.
        """
        states: Tensor = self._embedding[0](features["tokens"])
        given = features["numbers"].to(self.frequencies.dtype)
        angles = given[:, 1:2] * self.frequencies
        told = self.numbers(torch.cat([given[:, 1:], angles.sin(), angles.cos()], dim=1))
        return torch.where(given[:, :1] > 0, told.to(states.dtype), states)
