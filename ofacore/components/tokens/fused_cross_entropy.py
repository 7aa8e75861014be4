"""Projection on a vocabulary and cross-entropy as one operation.

A training step on a CPU spends most of its memory and much of its time on logits ``[m, v]``. Here they exist for a
piece of the positions at a time. If all of them fit the budget, their probabilities are kept for the backward pass;
otherwise the backward pass computes them again, piece by piece (compare the Liger kernels, Hsu et al. 2024).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ofacore.parallel.products import project_into

BUDGET_BYTES = 64 * 2**20
_CACHE_BYTES = 4 * 2**20


class _LinearCrossEntropy(torch.autograd.Function):
    """hidden [m, H], weight [v, H], labels [m] -> (loss [m], nll [m], right [m]), all fp32.

    Logits become ``exp(logits - row maximum)`` in place and stay so: what is missing to make them probabilities is one
    factor for each row, which is applied to the states instead.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        labels: Tensor,
        smoothing: float,
        budget: int,
        silent: tuple[int, ...],
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = max(1, budget // (weight.shape[0] * weight.element_size()))
        outputs = hidden.new_empty(4, len(labels), dtype=torch.float32)
        kept = None
        for start in range(0, len(labels), rows):
            piece = slice(start, start + rows)
            kept = _logits(hidden[piece], weight, silent)
            _exponentiate(kept, labels[piece], smoothing, outputs[:, piece], silent)
        loss, nll, right, total = outputs
        ctx.rows, ctx.smoothing, ctx.silent = rows, smoothing, silent
        ctx.given_away = getattr(weight, "takes_gradient", False)
        whole = kept if rows >= len(labels) else None
        ctx.save_for_backward(hidden, weight, labels, total, whole)
        ctx.mark_non_differentiable(nll, right)
        return loss, nll, right

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, weight, labels, total, kept = ctx.saved_tensors
        kept = (
            None if kept is None else kept.data
        )  # changed in place and put back below, which autograd cannot know
        factor = (grad / total).unsqueeze(1).to(hidden.dtype)
        scaled = hidden * factor
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight: Tensor | None = None
        for start in range(0, len(labels), ctx.rows):
            piece = slice(start, start + ctx.rows)
            error = (
                kept
                if kept is not None
                else _again(hidden[piece], weight, labels[piece], ctx.silent)
            )
            before = _take_target(error, labels[piece], total[piece] * (1.0 - ctx.smoothing))
            if grad_hidden is not None:
                torch.mm(error, weight, out=grad_hidden[piece])
            if ctx.needs_input_grad[1]:
                if grad_weight is None:
                    grad_weight = error.T @ scaled[piece]
                else:
                    grad_weight.addmm_(error.T, scaled[piece])
            error.scatter_(1, labels[piece].unsqueeze(1), before)
        if grad_hidden is not None:
            grad_hidden.mul_(factor)
        if ctx.smoothing:
            even = (
                (grad * ctx.smoothing / (weight.shape[0] - len(ctx.silent)))
                .unsqueeze(1)
                .to(hidden.dtype)
            )
            _take_uniform(grad_hidden, grad_weight, weight, hidden, even, ctx.silent)
        if grad_weight is not None and ctx.given_away:
            grad_weight.is_given_away = True  # type: ignore[attr-defined]
        return grad_hidden, grad_weight, None, None, None, None


def _exponentiate(
    logits: Tensor,
    labels: Tensor,
    smoothing: float,
    outputs: Tensor | None,
    silent: tuple[int, ...] = (),
) -> None:
    """Turn logits [m, v] into exponentials in place, a cache-sized piece at a time; write loss, nll, right, sum."""
    rows = max(1, _CACHE_BYTES // (logits.shape[1] * 4))
    for start in range(0, len(labels), rows):
        piece = slice(start, start + rows)
        shifted = logits[piece].float()
        shifted -= shifted.amax(1, keepdim=True)
        if outputs is None:
            logits[piece].copy_(shifted.exp_()) if shifted.dtype != logits.dtype else shifted.exp_()
            continue
        loss, nll, right, total = outputs[:, piece]
        target = shifted.gather(1, labels[piece].unsqueeze(1)).squeeze(1)
        mean = _mean(shifted, silent) if smoothing else target
        torch.exp(shifted, out=shifted)
        torch.sum(shifted, 1, out=total)
        if shifted.dtype != logits.dtype:
            logits[piece] = shifted
        torch.eq(target, 0.0, out=right)
        torch.sub(total.log(), target, out=nll)
        loss.copy_(nll + smoothing * (target - mean))


def _mean(shifted: Tensor, silent: tuple[int, ...]) -> Tensor:
    """Mean of each row [m] over what is not silent."""
    if not silent:
        return shifted.mean(1)
    begins, ends = [0, *(row + 1 for row in sorted(silent))], [*sorted(silent), shifted.shape[1]]
    return torch.cat([shifted[:, a:b] for a, b in zip(begins, ends, strict=True)], 1).mean(1)


def _logits(hidden: Tensor, weight: Tensor, silent: tuple[int, ...]) -> Tensor:
    size = len(hidden) * len(weight)
    room = hidden.new_empty(
        max(size, weight.numel())
    )  # the gradient of the weight then fits where logits were freed
    logits = room[:size].view(len(hidden), -1)
    project_into(logits, hidden, weight)
    for row in silent:
        logits[:, row] = -torch.inf
    return logits


def _again(hidden: Tensor, weight: Tensor, labels: Tensor, silent: tuple[int, ...]) -> Tensor:
    logits = _logits(hidden, weight, silent)
    _exponentiate(logits, labels, 0.0, None)
    return logits


def _take_target(exponentials: Tensor, labels: Tensor, share: Tensor) -> Tensor:
    """Subtract a share [m] at each label in place; returns what stood there [m, 1]."""
    index = labels.unsqueeze(1)
    before = exponentials.gather(1, index)
    exponentials.scatter_(1, index, (before.float() - share.unsqueeze(1)).to(before.dtype))
    return before


def _take_uniform(
    grad_hidden: Tensor | None,
    grad_weight: Tensor | None,
    weight: Tensor,
    hidden: Tensor,
    even: Tensor,
    silent: tuple[int, ...],
) -> None:
    """The part of the gradients that comes from the uniform share ``even`` [m, 1] of smoothed targets, in place."""
    if grad_hidden is not None:
        grad_hidden.sub_((weight.sum(0) - _rows_sum(weight, silent)) * even)
    if grad_weight is not None:
        grad_weight.sub_((hidden * even).sum(0))
        for row in silent:
            grad_weight[row] = 0.0


def _rows_sum(weight: Tensor, rows: tuple[int, ...]) -> Tensor:
    """Sum [H] of some rows of a weight."""
    return (
        torch.stack([weight[row] for row in rows]).sum(0)
        if rows
        else weight.new_zeros(weight.shape[1])
    )


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    smoothing: float = 0.0,
    budget: int = BUDGET_BYTES,
    silent: tuple[int, ...] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy of ``softmax(hidden @ weight.T)``.

    Args:
        hidden: States [m, H], fp32 or bf16.
        weight: Projection [v, H]. If it has an attribute ``takes_gradient``, its gradient is marked
            ``is_given_away``: nobody else holds that tensor, and whoever receives it may change it.
        labels: int64 [m], rows of ``weight``.
        smoothing: Share of the target that is spread evenly over all v.
        budget: Bytes of logits that may exist at a time.
        silent: Rows of ``weight`` that have no part in the softmax and are no labels.

    Returns:
        Loss [m] (differentiable), negative log-likelihood [m], 1 where the label has the largest logit [m]; fp32.
    """
    return _LinearCrossEntropy.apply(hidden, weight, labels, smoothing, budget, silent)  # type: ignore[no-any-return]
