"""Matching of two sides of a contrast over a whole step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ofacore.protocols import CriterionContext, Loss

_UNPAIRED = "contrastive: every item needs exactly one partner in the step"


class Contrastive(nn.Module):
    """Symmetric InfoNCE (van den Oord et al. 2018; Radford et al. 2021) over all items of a step.

    Labels of each item: ``pair`` int64 [1], equal for the two sides of a sample; ``side`` int64 [1], 0 or 1;
    ``identity`` int64 [1], equal for items with equal content: a duplicate of the right answer is no wrong one.
    The temperature is learned, starts at ``temperature`` (0.07) and stays above 0.01.
    """

    scope: ClassVar[Literal["position", "segment", "step"]] = "step"
    needs: ClassVar[frozenset[str]] = frozenset()
    batch_coupled: ClassVar[bool] = True

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        start = float((options or {}).get("temperature", 0.07))
        self.log_scale = nn.Parameter(torch.tensor(1.0 / start).log())

    def count(self, labels: Mapping[str, np.ndarray]) -> int:
        """One unit for each item."""
        return 1

    def forward(
        self, prediction: Tensor, labels: Mapping[str, Tensor], ctx: CriterionContext
    ) -> Loss:
        """Loss of each item: finding its partner among all items of the other side. prediction [items, size]."""
        scale = self.log_scale.float().exp().clamp(max=100.0)
        scores = prediction.float() @ prediction.float().T * scale
        pair, side, identity = labels["pair"], labels["side"], labels["identity"]
        partner = (pair[:, None] == pair[None]) & (side[:, None] != side[None])
        paired = (partner.sum(1) == 1).all()
        if (
            paired.device.type != "cpu"
        ):  # there nobody waits for the answer: the device stops by itself
            torch._assert_async(paired, _UNPAIRED)
        elif not bool(paired):
            raise ValueError(_UNPAIRED)
        column = partner.int().argmax(1)
        duplicate = (identity[column][:, None] == identity[None]) & ~partner
        wrong_side = side[:, None] == side[None]
        log_probs = scores.masked_fill(wrong_side | duplicate, -torch.inf).log_softmax(-1)
        values = -log_probs.gather(1, column[:, None]).squeeze(1)
        right = log_probs.detach().argmax(1).eq(column).float()
        return Loss(values=values, parts={"accuracy": right})
