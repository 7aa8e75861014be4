"""The vectors of learned prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ofacore.protocols import BuildContext, Options


class PromptAdapter(nn.Module):
    """``number`` int64 [n] -> learned vectors [n, H]. Shape ``(n,)``, coordinates ``(i, i, i)``."""

    axes: ClassVar[int] = 1
    """Positions lie on a line."""

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        vectors = int(context.options["vectors"])
        self.vectors = nn.Parameter(torch.randn(vectors, context.hidden) * 0.02)

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """One position for each vector."""
        return shape[0]

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """Running numbers on every axis."""
        return np.repeat(np.arange(shape[0], dtype=np.int64)[:, None], 3, axis=1)

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [n, H]."""
        return self.vectors.index_select(0, features["number"])
