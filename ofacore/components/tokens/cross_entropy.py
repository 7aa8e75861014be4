"""Cross-entropy over token blocks that keeps no logits beyond a fixed budget of memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ofacore.components.tokens.token_model import TokenPrediction
from ofacore.parallel.host_transfer import distinct, item_numbers
from ofacore.protocols import CriterionContext, Loss

_NOT_ALLOWED = "a label is not among the allowed tokens of its position"


class LabelError(ValueError):
    """A label that is no token of the blocks its slot may produce."""


class CrossEntropy(nn.Module):
    """Negative log-likelihood of token labels.

    Labels: ``ids`` int64 [m]; for closed sets also ``allowed`` int64 [sum] and ``allowed_lengths`` int64 [m], the ids
    among which the softmax of each position runs. Options: ``label_smoothing`` spreads that share of the target evenly
    over the tokens the softmax runs over; ``drop_worst_ratio`` leaves out that share of an item's positions, those
    with the largest loss (for noisy captions, as in OFA).
    """

    scope: ClassVar[Literal["position", "segment", "step"]] = "position"
    needs: ClassVar[frozenset[str]] = frozenset()
    batch_coupled: ClassVar[bool] = False

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        options = options or {}
        self.label_smoothing = float(options.get("label_smoothing", 0.0))
        self.drop_worst_ratio = float(options.get("drop_worst_ratio", 0.0))

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """Number of positions that carry loss."""
        number = len(labels["ids"])
        return number - int(number * self.drop_worst_ratio)

    def forward(
        self, prediction: TokenPrediction, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """Sums of each item's losses; parts ``nll`` and ``accuracy`` (numbers of right positions).

        In a closed set, tokens without an alternative count in no mean that is shown: their loss is 0, and none of them
        can be wrong.
        """
        local = prediction.local(labels["ids"])
        if "allowed" in labels:
            total, nll, right = self._closed(prediction, local, labels)
        else:
            total, nll, right = prediction.cross_entropy(local, self.label_smoothing)
        lengths = ctx.lengths
        decided = (labels["allowed_lengths"] > 1).float() if "allowed" in labels else None
        if self.drop_worst_ratio:
            keep = _best(total.detach(), lengths, self.drop_worst_ratio)
            total, nll, right = total * keep, nll * keep, right * keep
            decided = None if decided is None else decided * keep
        if decided is not None:
            right = right * decided
        values = _sums(total, lengths)
        parts = {"nll": _sums(nll.detach(), lengths), "accuracy": _sums(right.detach(), lengths)}
        units = None if decided is None else _sums(decided, lengths)
        return Loss(values, parts, units)

    def distillation(
        self,
        prediction: TokenPrediction,
        taught: TokenPrediction,
        labels: Mapping[str, Tensor],
        ctx: CriterionContext,
    ) -> Loss:
        """Kullback-Leibler divergence from the teacher's tokens, in a closed set among those that may come."""
        if "allowed" in labels:
            candidates, allowed = _allowed(prediction, labels)
            ours, theirs = prediction.logits_of(candidates), taught.logits_of(candidates)
            ours, theirs = (
                ours.masked_fill(~allowed, -torch.inf),
                theirs.masked_fill(~allowed, -torch.inf),
            )
        else:
            ours, theirs = prediction.logits(), taught.logits()
        distance = divergence(ours, theirs)
        if self.drop_worst_ratio:
            distance = distance * _best(distance.detach(), ctx.lengths, self.drop_worst_ratio)
        return Loss(_sums(distance, ctx.lengths))

    def _closed(
        self, prediction: TokenPrediction, local: Tensor, labels: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Softmax of every position among its own candidates; logits are computed for candidates only."""
        candidates, allowed = _allowed(prediction, labels)
        numbers = torch.arange(len(local), device=local.device)
        target = torch.searchsorted(candidates, local).clamp(max=len(candidates) - 1)
        fits = (allowed[numbers, target] & (candidates[target] == local)).all()
        if (
            fits.device.type != "cpu"
        ):  # there nobody waits for the answer: the device stops by itself
            torch._assert_async(fits, _NOT_ALLOWED)
        elif not bool(fits):
            raise LabelError(_NOT_ALLOWED)
        log_probs = (
            prediction.logits_of(candidates).masked_fill(~allowed, -torch.inf).log_softmax(-1)
        )
        nll = -log_probs.gather(1, target.unsqueeze(1)).squeeze(1)
        smooth = -(log_probs.masked_fill(~allowed, 0.0).sum(1) / allowed.sum(1))
        right = log_probs.argmax(1).eq(target).float()
        return (1 - self.label_smoothing) * nll + self.label_smoothing * smooth, nll, right


def divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    """[m] from logits [m, v]; tokens that are silent in one of both have no part."""
    silent = ours.isneginf() | theirs.isneginf()
    log_probs = ours.masked_fill(silent, -torch.inf).log_softmax(-1).masked_fill(silent, 0.0)
    wanted = theirs.masked_fill(silent, -torch.inf).log_softmax(-1)
    probs = wanted.exp()
    return (probs * (wanted.masked_fill(silent, 0.0) - log_probs)).sum(-1)


def _allowed(prediction: TokenPrediction, labels: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Columns [c] that some position may take, and bool [m, c]: which of them each may."""
    lengths, listed = labels["allowed_lengths"], prediction.local(labels["allowed"])
    candidates, place = _candidates(listed, len(prediction.ids))
    numbers = torch.arange(len(lengths), device=lengths.device)
    position = torch.repeat_interleave(numbers, lengths, output_size=len(listed))
    allowed = torch.zeros(len(lengths), len(candidates), dtype=torch.bool, device=lengths.device)
    allowed[position, place] = True
    return candidates, allowed


def _candidates(listed: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Columns that some position may take, ascending, and the place of each of ``listed`` among them.

    On a CPU none besides. Elsewhere there may be others, but never more than all ``columns``.
    """
    if listed.device.type != "cpu" and len(listed) > columns:
        return torch.arange(columns, device=listed.device), listed
    return distinct(listed)


def _sums(values: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Sum of each item's positions: [m] -> [items]."""
    item = item_numbers(lengths, values.device)
    return values.new_zeros(len(lengths)).index_add(0, item, values)


def _best(losses: Tensor, lengths: tuple[int, ...], ratio: float) -> Tensor:
    """1 for positions that stay, 0 for the share of each item with the largest losses."""
    keep = torch.ones_like(losses)
    for part, kept in zip(losses.split(lengths), keep.split(lengths), strict=True):
        worst = int(len(part) * ratio)
        if worst:
            kept[part.topk(worst).indices] = 0.0
    return keep
