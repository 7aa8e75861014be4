"""Tokens: the adapter that embeds them, the head that scores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ofacore.parallel.cross_entropy import Columns, chosen_logits, split_cross_entropy, split_logits
from ofacore.parts.fused_cross_entropy import linear_cross_entropy
from ofacore.protocols import BuildContext, HeadContext, Options

_FEW = 16


class TokenAdapter(nn.Module):
    """Embeds ``tokens`` int64 [n] with the shared token embedding. Shape ``(n,)``, coordinates ``(i, i, i)``."""

    axes: ClassVar[int] = 1
    """Its positions lie on a line: all three coordinates are equal."""

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self._embedding = (context.embedding,)

    @staticmethod
    def length(shape: tuple[int, ...], options: Options) -> int:
        """One position for each token."""
        return shape[0]

    @staticmethod
    def coordinates(shape: tuple[int, ...], options: Options) -> np.ndarray:
        """Running numbers on every axis."""
        return np.repeat(np.arange(shape[0], dtype=np.int64)[:, None], 3, axis=1)

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """States [n, H]."""
        return self._embedding[0](features["tokens"])  # type: ignore[no-any-return]


class TokenPrediction:
    """Scores of every token that may come, computed when asked for.

    Attributes:
        hidden: States [m, H].
        weight: Rows [v, H] of the projection; those of this process where the tensor group splits them.
        ids: int64 [v], ascending: the vocabulary id of each column of the logits.
        columns: Who computes which logits; None: this process computes them all.
    """

    def __init__(self, hidden: Tensor, weight: Tensor, ids: Tensor, columns: Columns | None = None) -> None:
        self.hidden, self.weight, self.ids, self.columns = hidden, weight, ids, columns

    def logits(self) -> Tensor:
        """fp32 [m, v]."""
        if self.columns is not None:
            return split_logits(self.hidden, self.weight, self.columns).float()
        return _product(self.hidden, self.weight).float()

    def logits_of(self, chosen: Tensor) -> Tensor:
        """fp32 [m, c]: logits of some columns int64 [c] alone."""
        if self.columns is not None:
            return chosen_logits(self.hidden, self.weight, self.columns, chosen).float()
        return (self.hidden @ self.weight[chosen].T).float()

    def cross_entropy(self, labels: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, negative log-likelihood and rightness [m] each of labels [m] (columns); no logits are kept."""
        if self.columns is not None:
            return split_cross_entropy(self.hidden, self.weight, labels, self.columns, smoothing)
        return linear_cross_entropy(self.hidden, self.weight, labels, smoothing)

    @property
    def log_probs(self) -> Tensor:
        """fp32 [m, v]."""
        return self.logits().log_softmax(-1)

    def local(self, ids: Tensor) -> Tensor:
        """Rows of ``weight`` that belong to vocabulary ids [n].

        Raises:
            ValueError: An id is not in the blocks that were asked for.
        """
        whole = len(self.ids) == int(self.ids[-1]) + 1
        rows = ids if whole else torch.searchsorted(self.ids, ids)
        known = (rows >= 0) & (rows < len(self.ids))
        if not bool(known.all()) or not bool((self.ids[rows] == ids).all()):
            wrong = ids[~known | (self.ids[rows.clamp(0, len(self.ids) - 1)] != ids)]
            raise ValueError(f"token {int(wrong[0])} is in none of the blocks that this prediction is made for")
        return rows


def _product(hidden: Tensor, weight: Tensor) -> Tensor:
    """hidden [m, H] and weight [v, H] -> [m, v].

    For the few states of a decoding step BLAS is up to twice as fast with the long matrix on the left.
    """
    if len(hidden) > _FEW or hidden.dtype != torch.float32 or torch.is_grad_enabled():
        return hidden @ weight.T
    return (weight @ hidden.T).T.contiguous()


class TokenHead(nn.Module):
    """Projects states on the blocks of a slot and the core tokens."""

    positionwise: ClassVar[bool] = True

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self._embedding = (context.embedding,)

    def forward(self, hidden: Tensor, ctx: HeadContext) -> TokenPrediction:
        """Prediction for states [m, H]."""
        return TokenPrediction(hidden, *self._embedding[0].output_part(ctx.blocks))


def token_features(ids: Any) -> dict[str, np.ndarray]:
    """Features of a token adapter for vocabulary ids."""
    return {"tokens": np.asarray(ids, dtype=np.int64)}
