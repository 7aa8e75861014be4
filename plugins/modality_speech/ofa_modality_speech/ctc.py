"""Connectionist temporal classification (Graves et al. 2006): the head and the loss on the states of a sound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss, log_softmax
from torch.nn.utils.rnn import pad_sequence

from ofacore.protocols import MASK, CriterionContext, HeadContext, Loss, Options

if TYPE_CHECKING:
    from ofacore.protocols import BuildContext

BLANK = 0
"""Column of the blank."""
FIRST_TOKEN = MASK + 1
"""Ids below are the core's own tokens, which stand for nothing that is heard."""


@dataclass(frozen=True)
class CtcPrediction:
    """Scores of the blank and of every token of some blocks."""

    logits: Tensor
    """fp32 [m, 1 + v]: the blank, then the tokens."""
    ids: Tensor
    """int64 [v], ascending: vocabulary id of each column behind the blank."""

    @property
    def log_probs(self) -> Tensor:
        """fp32 [m, 1 + v]."""
        return log_softmax(self.logits, dim=1)

    def columns(self, ids: Tensor) -> Tensor:
        """Columns int64 [n] of vocabulary ids [n], which must be of the blocks."""
        return torch.searchsorted(self.ids, ids) + 1


class CtcHead(nn.Module):
    """``ctc``: its own layers, then the rows of the shared token embedding, and a row of its own for the blank."""

    positionwise: ClassVar[bool] = True

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        hidden = context.hidden
        self._embedding = (context.embedding,)
        self.layers = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU())
        self.project = nn.Linear(hidden, hidden)
        self.blank = nn.Linear(hidden, 1)

    def forward(self, hidden: Tensor, ctx: HeadContext) -> CtcPrediction:
        """Prediction for states [m, H], of the tokens of ``ctx.blocks``."""
        states = self.layers(hidden)
        weight, ids = self._embedding[0].output(ctx.blocks)
        first = int(torch.searchsorted(ids, FIRST_TOKEN))
        tokens = self.project(states) @ weight[first:].T.to(states.dtype)
        logits = torch.cat([self.blank(states), tokens], dim=1)
        return CtcPrediction(logits.float(), ids[first:])


class CtcCriterion:
    """``ctc``: negative log-probability of the labels over all alignments, summed over an item.

    Labels are ``ids``; each counts once. An item with fewer positions than its labels need costs nothing, and is
    counted by the part ``too_short``; so is one with a label that stands for nothing that is heard, as ``<unk>``, by
    ``not_heard``.
    """

    scope: ClassVar[Literal["position", "segment", "step"]] = "segment"
    needs: ClassVar[frozenset[str]] = frozenset()
    batch_coupled: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        pass

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """Labels."""
        return len(labels["ids"])

    def __call__(
        self, prediction: CtcPrediction, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """Losses of all items; parts ``ctc``, ``too_short`` and ``not_heard``."""
        ids, lengths = labels["ids"], ctx.label_lengths["ids"]
        foreign = ~torch.isin(ids, prediction.ids)
        unheard = torch.zeros(len(lengths), dtype=torch.bool, device=ids.device)
        unheard[_items(lengths, ids.device)[foreign]] = True
        targets = prediction.columns(ids.masked_fill(foreign, 0))
        losses = ctc_losses(prediction.log_probs, targets, ctx.lengths, lengths)
        short = losses.isinf()
        values = torch.where(short | unheard, 0.0, losses)
        parts = {"ctc": values.detach(), "too_short": short.float(), "not_heard": unheard.float()}
        return Loss(values, parts)


def ctc_losses(
    log_probs: Tensor,
    targets: Tensor,
    lengths: tuple[int, ...],
    target_lengths: tuple[int, ...],
) -> Tensor:
    """fp32 [items]: negative log-probabilities; infinite where an item is too short, with a gradient of 0.

    Args:
        log_probs: fp32 [sum of lengths, 1 + v].
        targets: int64 [sum of target lengths], columns.
        lengths: Positions of each item.
        target_lengths: Labels of each item.
    """
    padded = pad_sequence(list(log_probs.split(list(lengths))))
    there = torch.tensor(lengths, device=log_probs.device)
    known = (there > 0) & (there >= _needed(targets, target_lengths))
    found = ctc_loss(
        padded,
        targets,
        torch.tensor(lengths),
        torch.tensor(target_lengths),
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )
    return torch.where(known, found, torch.inf)


def _needed(targets: Tensor, target_lengths: tuple[int, ...]) -> Tensor:
    """int64 [items]: positions that each item needs: one a label, and one between two equal ones."""
    items = _items(target_lengths, targets.device)
    same = (targets[1:] == targets[:-1]) & (items[1:] == items[:-1])
    needed = torch.tensor(target_lengths, device=targets.device)
    return needed.index_add(0, items[1:], same.long())


def _items(lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """int64 [sum of lengths]: the item that each label belongs to."""
    counts = torch.tensor(lengths)
    return torch.repeat_interleave(torch.arange(len(counts)), counts).to(device)
