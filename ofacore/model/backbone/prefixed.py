"""Keys and values that stand before those of each row, as prefix tuning learns them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ofacore.model.backbone.attention_rows import Slots
from ofacore.model.backbone.bias import Bias


@dataclass(frozen=True)
class LearnedKeys:
    """What one attention has in front of its own keys in one pass."""

    keys: Tensor
    """[P, h, d]."""
    values: Tensor
    """[P, h, e]."""
    owners: Tensor | None = None
    """int64 [P]: number of the task that sees each; None: all positions see all of them."""
    tasks: Tensor | None = None
    """int64 [N]: number of each position's task; None as ``owners``."""

    def of_groups(self, slots: Slots) -> list[Ahead]:
        """For each group of rows."""
        if self.tasks is None or self.owners is None:
            return [Ahead(self.keys, self.values) for _ in slots.shapes]
        return [
            Ahead(self.keys, self.values, rows[:, None, :, None] == self.owners)
            for rows in slots.take(self.tasks)
        ]


@dataclass(frozen=True)
class Ahead:
    """P keys and values in front of those of R rows."""

    keys: Tensor
    """[P, h, d]."""
    values: Tensor
    """[P, h, e]."""
    seen: Tensor | None = None
    """bool [R, 1, L, P]: query sees key; None: every one does."""

    def put(self, k: Tensor, v: Tensor, bias: Bias) -> tuple[Tensor, Tensor, Bias]:
        """Keys [R, h, K, d + w], values [R, h, K, e] and what is added to scores, with these in front.

        A position scheme's w features of the keys are zero here, so that content alone is scored.
        """
        keys = functional.pad(self.keys, (0, k.shape[-1] - self.keys.shape[-1]))
        whole = bias.behind(len(self.keys), k.shape[2], self.seen, k.dtype)
        return _behind(keys, k), _behind(self.values, v), whole


def _behind(ahead: Tensor, own: Tensor) -> Tensor:
    """[P, h, d], [R, h, K, d] -> [R, h, P + K, d]."""
    rows = ahead.transpose(0, 1).to(own.dtype).expand(len(own), -1, -1, -1)
    return torch.cat([rows, own], dim=2)
