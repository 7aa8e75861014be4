"""Attention with a bias by distance that keeps neither the bias nor the scores for the backward pass.

As in FlashAttention (Dao et al. 2022) only the output and the logarithm of each softmax's sum are kept; a piece of the
queries at a time, the backward pass computes the rest again. Gradients of tables of biases are exact sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ofacore.model.backbone.bias import Bias

_PIECE = 1 << 19
"""Scores held at a time."""


def recomputed_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Bias,
    features: tuple[Tensor | None, Tensor | None] = (None, None),
) -> Tensor:
    """Queries [R, h, L, d] (scaled), keys [R, h, K, d], values [R, h, K, e] -> [R, h, L, e].

    ``features`` [R, h, L or K, w] stand behind queries and keys; where several layers share them they are kept once.
    """
    assert bias.table is not None
    return _Recomputed.apply(q, k, v, *features, bias.table, bias.mask, *bias.indices)  # type: ignore[no-any-return]


def _joined(content: Tensor, features: Tensor | None) -> Tensor:
    return content if features is None else torch.cat([content, features.to(content.dtype)], -1)


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        own: Tensor | None,
        other: Tensor | None,
        table: Tensor,
        mask: Tensor | None,
        *indices: Tensor,
    ) -> Tensor:
        bias = Bias(mask, table, indices)
        k, v = (
            k.contiguous(),
            v.contiguous(),
        )  # views would keep the projection that all three are of
        kept = q, k
        q, k = _joined(q, own), _joined(k, other)
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        sums = q.new_empty(q.shape[:-1], dtype=torch.float32)
        for piece in _pieces(q, k):
            scores = _scores(q, k, bias, piece)
            sums[:, :, piece] = scores.logsumexp(-1)
            out[:, :, piece] = (scores - sums[:, :, piece, None]).exp_().to(v.dtype) @ v
        ctx.save_for_backward(*kept, v, own, other, table, mask, out, sums, *indices)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        q, k, v, own, other, table, mask, out, sums, *indices = ctx.saved_tensors
        width = q.shape[-1]
        q, k = _joined(q, own), _joined(k, other)
        bias = Bias(mask, table, tuple(indices))
        grad_q, grad_k, grad_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        grad_table = torch.zeros_like(table, dtype=torch.float32)
        for piece in _pieces(q, k):
            weights = (_scores(q, k, bias, piece) - sums[:, :, piece, None]).exp_()
            given = grad[:, :, piece]
            grad_v += weights.to(v.dtype).transpose(-1, -2) @ given
            change = (given @ v.transpose(-1, -2)).float() - (given * out[:, :, piece]).sum(
                -1, keepdim=True
            ).float()
            change = weights.mul_(change)
            for index in indices:
                grad_table.index_add_(
                    0, index[:, piece].flatten(), change.permute(0, 2, 3, 1).flatten(0, 2)
                )
            change = change.to(q.dtype)
            grad_q[:, :, piece] = change @ k
            grad_k += change.transpose(-1, -2) @ q[:, :, piece]
        features = (
            None if part is None else grad[..., width:].to(part.dtype)
            for part, grad in ((own, grad_q), (other, grad_k))
        )
        grads = grad_q[..., :width], grad_k[..., :width], grad_v, *features
        return *grads, grad_table.to(table.dtype), None, *(None for _ in indices)


def _pieces(q: Tensor, k: Tensor) -> Iterator[slice]:
    length, across = q.shape[2], q.shape[0] * q.shape[1] * k.shape[2]
    size = max(1, _PIECE // max(1, across))
    return (slice(start, start + size) for start in range(0, length, size))


def _scores(q: Tensor, k: Tensor, bias: Bias, piece: slice) -> Tensor:
    """fp32 [R, h, l, K]."""
    scores = (q[:, :, piece] @ k.transpose(-1, -2)).float()
    added = bias.dense(piece)
    return scores if added is None else scores.add_(added)
