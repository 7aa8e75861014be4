"""A head that makes one vector of a whole item."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ofacore.parallel.host_transfer import item_numbers, numbers_on
from ofacore.protocols import BuildContext, HeadContext


class EmbeddingHead(nn.Module):
    """Mean over an item's positions, projection to ``size`` (0: the model's width), length one."""

    positionwise: ClassVar[bool] = False

    def __init__(self, context: BuildContext) -> None:
        super().__init__()
        size = int(context.options.get("size", 0)) or context.hidden
        self.projection = nn.Linear(context.hidden, size, bias=False)

    def forward(self, hidden: Tensor, ctx: HeadContext) -> Tensor:
        """States [m, H] of whole items -> fp32 [items, size]."""
        lengths, item = (
            numbers_on(ctx.lengths, hidden.device),
            item_numbers(ctx.lengths, hidden.device),
        )
        sums = hidden.new_zeros(len(lengths), hidden.shape[1], dtype=torch.float32).index_add(
            0, item, hidden.float()
        )
        means = sums / lengths.clamp(min=1).unsqueeze(1)
        projected = self.projection(means.to(self.projection.weight.dtype)).float()
        return nn.functional.normalize(projected, dim=-1)
