"""Projection on a vocabulary and cross-entropy as one operation.

A training step on a CPU spends most of its memory and much of its time on logits ``[m, v]``. Here they exist for a
piece of the positions at a time. If all of them fit the budget, their probabilities are kept for the backward pass;
otherwise the backward pass computes them again, piece by piece (compare the Liger kernels, Hsu et al. 2024).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BUDGET_BYTES = 64 * 2**20
_CACHE_BYTES = 4 * 2**20


class _LinearCrossEntropy(torch.autograd.Function):
    """hidden [m, H], weight [v, H], labels [m] -> (loss [m], nll [m], right [m]), all fp32."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, smoothing: float, budget: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = max(1, budget // (weight.shape[0] * weight.element_size()))
        keep = rows >= len(labels)
        outputs = hidden.new_empty(3, len(labels), dtype=torch.float32)
        kept = None
        for start in range(0, len(labels), rows):
            piece = slice(start, start + rows)
            kept = hidden[piece] @ weight.T
            _to_probabilities(kept, labels[piece], smoothing, outputs[:, piece])
        ctx.rows, ctx.smoothing = rows, smoothing
        ctx.save_for_backward(hidden, weight, labels, kept if keep else None)
        loss, nll, right = outputs
        ctx.mark_non_differentiable(nll, right)
        return loss, nll, right

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        hidden, weight, labels, kept = ctx.saved_tensors
        kept = None if kept is None else kept.data  # changed in place and put back below, which autograd cannot know
        scaled = hidden * grad.unsqueeze(1).to(hidden.dtype)
        grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        grad_weight: Tensor | None = None
        for start in range(0, len(labels), ctx.rows):
            piece = slice(start, start + ctx.rows)
            error = kept if kept is not None else _again(hidden[piece], weight, labels[piece])
            right = _take_target(error, labels[piece], 1.0 - ctx.smoothing)
            if grad_hidden is not None:
                torch.mm(error, weight, out=grad_hidden[piece])
            if ctx.needs_input_grad[1]:
                if grad_weight is None:
                    grad_weight = error.T @ scaled[piece]
                else:
                    grad_weight.addmm_(error.T, scaled[piece])
            error.scatter_(1, labels[piece].unsqueeze(1), right)
        if ctx.smoothing:
            _take_uniform(grad_hidden, grad_weight, weight, scaled, ctx.smoothing / weight.shape[0])
        if grad_hidden is not None:
            grad_hidden.mul_(grad.unsqueeze(1).to(hidden.dtype))
        return grad_hidden, grad_weight, None, None, None


def _to_probabilities(logits: Tensor, labels: Tensor, smoothing: float, outputs: Tensor | None) -> None:
    """Turn logits [m, v] into probabilities in place, a cache-sized piece at a time; write loss, nll, right."""
    rows = max(1, _CACHE_BYTES // (logits.shape[1] * 4))
    for start in range(0, len(labels), rows):
        piece = slice(start, start + rows)
        log_probs = logits[piece].float().log_softmax(-1)
        if outputs is not None:
            loss, nll, right = outputs[:, piece]
            target = log_probs.gather(1, labels[piece].unsqueeze(1)).squeeze(1)
            torch.neg(target, out=nll)
            torch.eq(log_probs.amax(1), target, out=right)
            loss.copy_(nll if smoothing == 0.0 else nll * (1 - smoothing) - log_probs.mean(1) * smoothing)
        logits[piece] = log_probs.exp_()


def _again(hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    logits = hidden @ weight.T
    _to_probabilities(logits, labels, 0.0, None)
    return logits


def _take_target(probabilities: Tensor, labels: Tensor, share: float) -> Tensor:
    """Subtract a share from the probability of each label in place; returns what stood there [m, 1]."""
    index = labels.unsqueeze(1)
    before = probabilities.gather(1, index)
    probabilities.scatter_(1, index, before - share)
    return before


def _take_uniform(
    grad_hidden: Tensor | None, grad_weight: Tensor | None, weight: Tensor, scaled: Tensor, share: float
) -> None:
    """The part of the gradients that comes from the uniform share of a smoothed target, in place."""
    if grad_hidden is not None:
        grad_hidden.sub_(weight.sum(0).mul_(share))
    if grad_weight is not None:
        grad_weight.sub_(scaled.sum(0).mul_(share))


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, smoothing: float = 0.0, budget: int = BUDGET_BYTES
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy of ``softmax(hidden @ weight.T)``.

    Args:
        hidden: States [m, H], fp32 or bf16.
        weight: Projection [v, H].
        labels: int64 [m], rows of ``weight``.
        smoothing: Share of the target that is spread evenly over all v.
        budget: Bytes of logits that may exist at a time.

    Returns:
        Loss [m] (differentiable), negative log-likelihood [m], 1 where the label has the largest logit [m]; fp32.
    """
    return _LinearCrossEntropy.apply(hidden, weight, labels, smoothing, budget)  # type: ignore[no-any-return]
