"""Cross-entropy over a vocabulary whose rows are split over the tensor group.

Own code: ``vocab_parallel_cross_entropy`` of megatron-core 0.16 smooths labels over one process's rows alone, and knows
no projection on some blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from ofacore.parallel.process_groups import tensor_group, tensor_rank
from ofacore.parallel.regions import gathered, summed, to_parts

BUDGET_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Columns:
    """Which of the v columns of logits [m, v] each process of the tensor group computes; w each, padding included."""

    place: Tensor
    """int64 [v]: place of each column among those of all processes, one behind the other."""
    padding: Tensor
    """bool [w]: columns of this process that stand for nothing, or have no part."""
    left_out: int = 0
    """How many of the v have no part."""

    @property
    def number(self) -> int:
        """Columns that have a part."""
        return len(self.place) - self.left_out

    def own(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Columns [n] -> place among those of this process (0 for others), bool: whether it is one of them."""
        place = self.place[columns] - tensor_rank() * len(self.padding)
        mine = (place >= 0) & (place < len(self.padding))
        return torch.where(mine, place, 0), mine

    def own_values(self, values: Tensor) -> Tensor:
        """One value for each column [v] -> those of own columns [w], 0 for padding."""
        place, mine = self.own(torch.arange(len(self.place), device=self.place.device))
        return values.new_zeros(len(self.padding)).index_copy(0, place[mine], values[mine])

    def without(self, silent: Sequence[int]) -> Columns:
        """The same, but some columns have no part in a softmax."""
        if not silent:
            return self
        place, mine = self.own(torch.tensor(silent, device=self.place.device))
        return Columns(self.place, self.padding.index_fill(0, place[mine], True), len(silent))


def split_logits(hidden: Tensor, weight: Tensor, columns: Columns) -> Tensor:
    """States [m, H] and own rows [w, H] -> all logits [m, v], shared."""
    return gathered(to_parts(hidden) @ weight.T, 1).index_select(1, columns.place)


def chosen_logits(hidden: Tensor, weight: Tensor, columns: Columns, chosen: Tensor) -> Tensor:
    """Logits [m, c] of some columns int64 [c], shared."""
    place, mine = columns.own(chosen)
    rows = weight[place] * mine.unsqueeze(1).to(weight.dtype)
    return summed(to_parts(hidden) @ rows.T)


class _SplitCrossEntropy(torch.autograd.Function):
    """hidden [m, H], own rows [w, H], labels [m] (columns) -> (loss [m], nll [m], right [m]), all fp32."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        labels: Tensor,
        columns: Columns,
        smoothing: float,
        budget: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = max(1, budget // (weight.shape[0] * 4))
        target, mine = columns.own(labels)
        sums = hidden.new_empty(4, len(labels), dtype=torch.float32)
        kept = None
        for start in range(0, len(labels), rows):
            piece = slice(start, start + rows)
            kept = _exponentials(
                hidden[piece], weight, columns, target[piece], mine[piece], sums[:, piece]
            )
        _, total, at_target, everywhere = sums
        nll = total.log() - at_target
        loss = (
            nll + smoothing * (at_target - everywhere / columns.number)
            if smoothing
            else nll.clone()
        )
        ctx.rows, ctx.smoothing, ctx.columns = rows, smoothing, columns
        ctx.given_away = getattr(weight, "takes_gradient", False)
        whole = kept if rows >= len(labels) else None
        ctx.save_for_backward(hidden, weight, target, mine, sums, whole)
        right = at_target.eq(0.0).float()
        ctx.mark_non_differentiable(nll, right)
        return loss, nll, right

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, weight, target, mine, sums, kept = ctx.saved_tensors
        grad_hidden, grad_weight = torch.zeros_like(hidden), torch.zeros_like(weight)
        for start in range(0, len(target), ctx.rows):
            piece = slice(start, start + ctx.rows)
            error = (
                kept
                if kept is not None
                else _again(hidden[piece], weight, ctx.columns, sums[0, piece])
            )
            error = error * (grad[piece] / sums[1, piece]).unsqueeze(1)
            if ctx.smoothing:
                even = (grad[piece] * (ctx.smoothing / ctx.columns.number)).unsqueeze(1)
                error -= even * ~ctx.columns.padding
            share = (grad[piece] * (1 - ctx.smoothing) * mine[piece]).unsqueeze(1)
            error.scatter_add_(1, target[piece].unsqueeze(1), -share)
            error = error.to(hidden.dtype)
            torch.mm(error, weight, out=grad_hidden[piece])
            grad_weight.addmm_(error.T, hidden[piece])
        dist.all_reduce(grad_hidden, group=tensor_group())
        if ctx.given_away:
            grad_weight.is_given_away = True  # type: ignore[attr-defined]
        return grad_hidden, grad_weight, None, None, None, None


def _exponentials(
    hidden: Tensor, weight: Tensor, columns: Columns, target: Tensor, mine: Tensor, sums: Tensor
) -> Tensor:
    """``exp(logits - row maximum)`` of own columns, fp32; writes maximum, sum, and shifted logits' two sums."""
    shifted = _masked_logits(hidden, weight, columns)
    highest = shifted.amax(1)
    dist.all_reduce(highest, dist.ReduceOp.MAX, group=tensor_group())
    shifted -= highest.unsqueeze(1)
    at_target = shifted.gather(1, target.unsqueeze(1)).squeeze(1).masked_fill(~mine, 0.0)
    everywhere = shifted.masked_fill(columns.padding, 0.0).sum(1)
    torch.exp(shifted, out=shifted)
    parts = torch.stack([shifted.sum(1), at_target, everywhere])
    dist.all_reduce(parts, group=tensor_group())
    sums[0], sums[1:] = highest, parts
    return shifted


def _masked_logits(hidden: Tensor, weight: Tensor, columns: Columns) -> Tensor:
    return (hidden @ weight.T).float().masked_fill_(columns.padding, -torch.inf)


def _again(hidden: Tensor, weight: Tensor, columns: Columns, highest: Tensor) -> Tensor:
    return (_masked_logits(hidden, weight, columns) - highest.unsqueeze(1)).exp_()


def split_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    columns: Columns,
    smoothing: float = 0.0,
    budget: int = BUDGET_BYTES,
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy of ``softmax(hidden @ all rows)``, where each process holds some rows.

    Args:
        hidden: States [m, H], shared.
        weight: Own rows [w, H] of the projection; see ``takes_gradient`` in
            `ofacore.components.tokens.fused_cross_entropy`.
        labels: int64 [m], columns.
        columns: Who holds what.
        smoothing: Share of the target that is spread evenly over all columns that have a part.
        budget: Bytes of fp32 logits that may exist on a process at a time.

    Returns:
        Loss [m] (differentiable), negative log-likelihood [m], 1 where the label has the largest logit [m]; fp32.
    """
    return _SplitCrossEntropy.apply(hidden, weight, labels, columns, smoothing, budget)  # type: ignore[no-any-return]
