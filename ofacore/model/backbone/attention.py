"""Multi-head attention over the rows of a stream."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import Sizes
from ofacore.model.backbone.attention_rows import Slots
from ofacore.model.backbone.bias import Bias
from ofacore.model.backbone.dropout import dropout, own_random_numbers
from ofacore.model.backbone.positions import rotate
from ofacore.model.backbone.prefixed import Ahead, LearnedKeys
from ofacore.model.backbone.recomputed import recomputed_attention
from ofacore.parallel.process_groups import tensor_size
from ofacore.parallel.regions import gathered, padded, unpadded
from ofacore.parallel.sharding import mark_partial, mark_split
from ofacore.parallel.split_layers import ColumnLinear, RowLinear

_EXPLICIT_UP_TO = 128 * 128


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Bias,
    rate: float,
    training: bool,
    weights: list[Tensor] | None = None,
) -> Tensor:
    """Attention with scaled queries.

    Short rows take plain matrix products, which on a CPU are faster backwards than the fused kernel; long rows take
    the fused kernel, or with a bias by distance `recomputed_attention`, neither of which ever holds all scores. Asking
    for weights takes the plain path.

    Args:
        q: [R, h, L, d], scaled; ``k`` [R, h, K, d], ``v`` [R, h, K, e].
        bias: Added to the scores.
        rate: Dropout of attention weights.
        training: Whether dropout is on.
        weights: Receives the attention weights [R, h, L, K], of all processes' heads.
    """
    rate = rate if training else 0.0
    if weights is None and q.shape[-2] * k.shape[-2] > _EXPLICIT_UP_TO:
        if bias.table is None:
            with own_random_numbers(rate > 0.0):
                return functional.scaled_dot_product_attention(q, k, v, bias.mask, rate, scale=1.0)
        if not rate:
            return recomputed_attention(q, k, v, bias)
    if torch.is_grad_enabled() and bias.table is not None and weights is None and rate:
        return checkpoint(_explicit, q, k, v, bias, rate, None, use_reentrant=False)  # type: ignore[no-any-return]
    return _explicit(q, k, v, bias, rate, weights)


def _apart(length: int, keys: int, bias: Bias, rate: float, weights: list[Tensor] | None) -> bool:
    """Whether features of positions are left apart from queries and keys: `recomputed_attention` keeps them once."""
    return (
        weights is None and length * keys > _EXPLICIT_UP_TO and bias.table is not None and not rate
    )


def _explicit(
    q: Tensor, k: Tensor, v: Tensor, bias: Bias, rate: float, weights: list[Tensor] | None
) -> Tensor:
    scores, added = q @ k.transpose(-1, -2), bias.dense()
    probabilities = (scores if added is None else scores + added).softmax(-1)
    if weights is not None:
        weights.append(gathered(probabilities, 1))
    with own_random_numbers(rate > 0.0):
        probabilities = dropout(probabilities, rate, rate > 0.0)
    return probabilities @ v


def joined(x: Tensor, features: Tensor | None) -> Tensor:
    """[..., h, d] with a position scheme's features [..., h, w] behind."""
    return x if features is None else torch.cat([x, features.to(x.dtype)], -1)


class Attention(nn.Module):
    """Projections around `attend`; heads may be split over processes.

    Options: ``qk_norm`` (layer norm of each head's queries and keys, Dehghani et al. 2023), ``scale_heads`` (a learned
    factor on each head, NormFormer). ``plain`` is without the latter, and scaled by the head's width alone.
    """

    def __init__(self, config: ModelConfig, sizes: Sizes, plain: bool = False) -> None:
        super().__init__()
        self.heads = sizes.heads // tensor_size()
        self.head_size = sizes.head_size
        self.scale = (sizes.head_size * (1.0 if plain else config.attn_scale_factor)) ** -0.5
        self.rate = config.attention_dropout
        self.out = RowLinear(sizes.hidden, sizes.hidden)
        self.query_norm = nn.LayerNorm(sizes.head_size, bias=False) if config.qk_norm else None
        self.key_norm = nn.LayerNorm(sizes.head_size, bias=False) if config.qk_norm else None
        self.head_scale = (
            nn.Parameter(torch.ones(self.heads)) if config.scale_heads and not plain else None
        )
        if self.head_scale is not None:
            mark_split(self.head_scale, 0)
        self.prefix: nn.Module | None = None
        for part in (self.query_norm, self.key_norm):
            if part is not None:
                mark_partial(part)

    def _normed(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        if self.query_norm is None or self.key_norm is None:
            return q, k
        return self.query_norm(q), self.key_norm(k)

    def scaled(self, q: Tensor, features: Tensor | None) -> Tensor:
        """Queries [..., h, d] times the scale, with a position scheme's features behind."""
        return joined(q * self.scale, features)

    def learned(self) -> LearnedKeys | None:
        """Keys and values that prefix tuning has learned for this pass."""
        return None if self.prefix is None else self.prefix()  # type: ignore[no-any-return]

    def rows(
        self,
        queries: list[Tensor],
        keys: list[Tensor],
        values: list[Tensor],
        biases: list[Bias],
        weights: list[Tensor] | None = None,
        features: Sequence[tuple[Tensor, Tensor]] = (),
        ahead: Sequence[Ahead] = (),
    ) -> list[Tensor]:
        """Attention of every group: [R, L, h, d] each -> [R, L, h * d]; ``features`` [R, L, h, w] stand behind.

        ``ahead``: keys and values in front of each group's; empty: there are none.
        """
        outputs, rate = [], self.rate if self.training else 0.0
        for number, (q, k, v, bias) in enumerate(zip(queries, keys, values, biases, strict=True)):
            own, other = features[number] if features else (None, None)
            if (
                own is not None
                and other is not None
                and not ahead
                and _apart(q.shape[1], k.shape[1], bias, rate, weights)
            ):
                apart = own.transpose(1, 2), other.transpose(1, 2)
                mixed = recomputed_attention(
                    q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), bias, apart
                )
            else:
                q, k = joined(q, own), joined(k, other)
                q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
                if ahead:
                    k, v, bias = ahead[number].put(k, v, bias)
                mixed = attend(q, k, v, bias, self.rate, self.training, weights)
                if ahead and weights is not None:
                    weights[-1] = weights[-1][..., len(ahead[number].keys) :]
            outputs.append(self.merge(mixed))
        return outputs

    def merge(self, x: Tensor) -> Tensor:
        """[R, h, L, d] -> [R, L, h * d]."""
        if self.head_scale is not None:
            x = x * self.head_scale[:, None, None]
        return x.transpose(1, 2).flatten(2)


class SelfAttention(Attention):
    """One projection makes queries, keys and values."""

    def __init__(self, config: ModelConfig, sizes: Sizes, plain: bool = False) -> None:
        super().__init__(config, sizes, plain)
        self.qkv = ColumnLinear(sizes.hidden, 3 * sizes.hidden)

    def project(
        self, x: Tensor, rows: int, rotation: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """States [..., H] -> queries, keys, values [rows, ..., h, d]; further rows are padding."""
        q, k, v = (
            unpadded(self.qkv(x), rows).unflatten(-1, (self.heads, 3, self.head_size)).unbind(-2)
        )
        q, k = self._normed(q, k)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        return q, k, v

    def forward(
        self,
        x: Tensor,
        slots: Slots,
        rotation: Tensor | None,
        biases: list[Bias],
        features: tuple[Tensor | None, Tensor | None] = (None, None),
    ) -> Tensor:
        """Stream [N, H] -> [N, H]; ``features`` [N, h, w] of the positions as queries and as keys."""
        q, k, v = self.project(x, slots.positions, rotation)
        queries, keys, values = slots.take(q * self.scale), slots.take(k), slots.take(v)
        taken = [slots.take(part) for part in features if part is not None]
        shared = list(zip(*taken, strict=True)) if len(taken) == len(features) else []
        learned = self.learned()
        ahead = [] if learned is None else learned.of_groups(slots)
        mixed = self.rows(queries, keys, values, biases, features=shared, ahead=ahead)
        return self.out(padded(slots.put(mixed)))  # type: ignore[no-any-return]


class CrossAttention(Attention):
    """Queries from the target, keys and values from the encoder's output."""

    def __init__(self, config: ModelConfig, sizes: Sizes, plain: bool = False) -> None:
        super().__init__(config, sizes, plain)
        self.query = ColumnLinear(sizes.hidden, sizes.hidden)
        self.key_value = ColumnLinear(sizes.hidden, 2 * sizes.hidden, sequence=False)

    def project(self, x: Tensor, rows: int) -> Tensor:
        """States [..., H] -> queries [rows, ..., h, d]; further rows are padding."""
        q = unpadded(self.query(x), rows).unflatten(-1, (self.heads, self.head_size))
        return self.query_norm(q) if self.query_norm is not None else q  # type: ignore[no-any-return]

    def project_memory(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Encoder output [..., H] -> keys, values [..., h, d]."""
        k, v = self.key_value(memory).unflatten(-1, (self.heads, 2, self.head_size)).unbind(-2)
        return (self.key_norm(k) if self.key_norm is not None else k), v

    def forward(
        self,
        x: Tensor,
        slots: Slots,
        memory: Tensor,
        memory_slots: Slots,
        biases: list[Bias],
        features: tuple[Tensor | None, Tensor | None] = (None, None),
        weights: list[Tensor] | None = None,
    ) -> Tensor:
        """Stream [M, H], encoder output [N, H] -> [M, H]; ``weights`` receives one [R, h, L, K] for each group."""
        queries = slots.take(self.scaled(self.project(x, slots.positions), features[0]))
        k, v = self.project_memory(memory)
        keys, values = memory_slots.take(joined(k, features[1])), memory_slots.take(v)
        learned = self.learned()
        ahead = [] if learned is None else learned.of_groups(slots)
        mixed = self.rows(queries, keys, values, biases, weights, ahead=ahead)
        return self.out(padded(slots.put(mixed)))  # type: ignore[no-any-return]
