"""Tokens: the adapter that embeds them, the head that scores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ofacore.components.tokens.fused_cross_entropy import linear_cross_entropy
from ofacore.ground.vocabulary import CORE
from ofacore.parallel.cross_entropy import Columns, chosen_logits, split_cross_entropy, split_logits
from ofacore.parallel.host_transfer import numbers_on
from ofacore.parallel.products import projected
from ofacore.protocols import BuildContext, HeadContext, Options


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
        bias: [v], added to the logits; None: nothing is.
        silent: Columns that have no part: their logits are minus infinity.
        cap: Logits are bent to lie between minus this and this, ``cap * tanh(logit / cap)``; None: they are not.
    """

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        ids: Tensor,
        columns: Columns | None = None,
        bias: Tensor | None = None,
        silent: tuple[int, ...] = (),
        cap: float | None = None,
    ) -> None:
        self.hidden, self.weight, self.ids, self.columns = hidden, weight, ids, columns
        self.bias, self.silent, self.cap = bias, silent, cap

    def logits(self) -> Tensor:
        """fp32 [m, v]."""
        if self.columns is None:
            logits = projected(self.hidden, self.weight).float()
        else:
            logits = split_logits(self.hidden, self.weight, self.columns).float()
        logits = logits if self.bias is None else logits + self.bias.float()
        logits = self._bent(logits)
        if not self.silent:
            return logits
        return logits.index_fill(1, numbers_on(self.silent, logits.device), -torch.inf)

    def _bent(self, logits: Tensor) -> Tensor:
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap

    def factors(self) -> tuple[Tensor, Tensor]:
        """States [m, K] and rows [v, K] whose products are the logits, before these are bent.

        A bias is the weight of one more feature.

        Where the tensor group splits the rows: those of this process.
        """
        if self.bias is None:
            return self.hidden, self.weight
        ones = self.hidden.new_ones(len(self.hidden), 1)
        bias = self.bias if self.columns is None else self.columns.own_values(self.bias)
        return torch.cat([self.hidden, ones], 1), torch.cat(
            [self.weight, bias[:, None].to(self.weight.dtype)], 1
        )

    def logits_of(self, chosen: Tensor) -> Tensor:
        """fp32 [m, c]: logits of some columns int64 [c] alone."""
        hidden, weight = self.factors()
        if self.columns is not None:
            return self._bent(chosen_logits(hidden, weight, self.columns, chosen).float())
        return self._bent((hidden @ weight[chosen].T).float())

    def cross_entropy(
        self, labels: Tensor, smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, negative log-likelihood and rightness [m] each of labels [m] (columns); no logits are kept."""
        if self.cap is not None:
            return self._bent_cross_entropy(labels, smoothing)
        hidden, weight = self.factors()
        if self.columns is not None:
            return split_cross_entropy(
                hidden, weight, labels, self.columns.without(self.silent), smoothing
            )
        return linear_cross_entropy(hidden, weight, labels, smoothing, silent=self.silent)

    def _bent_cross_entropy(
        self, labels: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `cross_entropy`; logits that are bent are no product that could be made piece by piece."""
        logits = self.logits()
        log_probs = logits.log_softmax(-1)
        nll = -log_probs.gather(1, labels[:, None])[:, 0]
        loss = nll
        if smoothing:
            even = -log_probs.masked_fill(logits.isneginf(), 0.0).sum(-1)
            even = even / (logits.shape[1] - len(self.silent))
            loss = (1 - smoothing) * nll + smoothing * even
        right = logits.gather(1, labels[:, None])[:, 0] == logits.amax(-1)
        return loss, nll.detach(), right.float()

    @property
    def log_probs(self) -> Tensor:
        """fp32 [m, v]."""
        return self.logits().log_softmax(-1)

    def local(self, ids: Tensor) -> Tensor:
        """Rows of ``weight`` that belong to vocabulary ids [n].

        Raises:
            ValueError: An id is not in the blocks that were asked for.
        """
        if ids.device.type != "cpu":
            return self._local_unseen(ids)
        whole = len(self.ids) == int(self.ids[-1]) + 1
        rows = ids if whole else torch.searchsorted(self.ids, ids)
        known = (rows >= 0) & (rows < len(self.ids))
        if not bool(known.all()) or not bool((self.ids[rows] == ids).all()):
            wrong = ids[~known | (self.ids[rows.clamp(0, len(self.ids) - 1)] != ids)]
            raise ValueError(
                f"token {int(wrong[0])} is in none of the blocks that this prediction is made for"
            )
        return rows

    def _local_unseen(self, ids: Tensor) -> Tensor:
        """`local` on a device that nobody waits for: it stops by itself where an id is wrong, and cannot say which."""
        rows = torch.searchsorted(self.ids, ids).clamp(max=len(self.ids) - 1)
        known = (self.ids[rows] == ids).all()
        torch._assert_async(
            known, "a token is in none of the blocks that this prediction is made for"
        )
        return rows


class TokenHead(nn.Module):
    """Projects states on the blocks of a slot and the core tokens.

    Options: ``whole`` lets the tokens of all blocks compete, as in models that know one dictionary only; blocks that
    joined the model later compete in their own slots alone.
    """

    positionwise: ClassVar[bool] = True

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        self._embedding = (context.embedding,)
        self._all = (
            tuple(b.name for b in context.vocabulary.founders)
            if context.options.get("whole")
            else ()
        )

    @staticmethod
    def scores_founders(options: Options) -> bool:
        """With ``whole``."""
        return bool(options.get("whole"))

    def forward(self, hidden: Tensor, ctx: HeadContext) -> TokenPrediction:
        """Prediction for states [m, H]."""
        embedding = self._embedding[0]
        weight, ids, columns = embedding.output_part((*self._all, *ctx.blocks))
        silent = silent_columns(embedding.silent, ids)
        bias = embedding.output_bias(ids)
        return TokenPrediction(hidden, weight, ids, columns, bias, silent, embedding.cap)


def silent_columns(silent: frozenset[int], ids: Tensor) -> tuple[int, ...]:
    """Which columns of logits have no part in them.

    Args:
        silent: Vocabulary ids.
        ids: int64 [v], ascending: the vocabulary id of each column; the core tokens come first.
    """
    core = tuple(sorted(token for token in silent if token < CORE.size))
    others = [token for token in sorted(silent) if token >= CORE.size]
    if not others:
        return core
    places = torch.searchsorted(ids, numbers_on(tuple(others), ids.device)).tolist()
    there = [place for place in places if place < len(ids)]
    return core + tuple(place for place in there if int(ids[place]) in silent)
