"""One decoder step: new positions of R rows against what the cache holds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ofacore.model.backbone.attention import Attention, attend, joined
from ofacore.model.backbone.bias import Bias, bias_of
from ofacore.model.backbone.decode_cache import Cache
from ofacore.model.backbone.experts import Experts
from ofacore.model.backbone.layers import TransformerLayer, _scaled
from ofacore.model.backbone.prefixed import Ahead
from ofacore.model.backbone.routing import Route
from ofacore.parallel.host_transfer import numbers_on, to_device
from ofacore.protocols import RelativeBias


@dataclass
class DecodeStep:
    """What all layers share in one step: n new positions in each of R rows, T keys in all."""

    cache: Cache
    relative: RelativeBias | None
    """Biases by distance between the new positions and all keys."""
    query: Tensor | None
    """[R, n, h, w]: the position scheme's features of the new positions as queries; None: it has none."""
    key: Tensor | None
    """As keys."""
    cross_query: Tensor | None
    """As queries of cross-attention."""
    total: int
    mask: Tensor | None
    """bool [R, 1, n, T]; None: everything is seen."""
    slot: Tensor | None
    """int64 [R, n]: where new keys go; None: right behind the others, equally in all rows."""
    rotation: Tensor | None
    routing: Route | None
    beams: int
    """Rows that read each source, where all have equally many and stand in order; else 0."""
    blind: Tensor | None
    """bool [R, 1, 1]: rows that read nothing; None: there are none."""
    cross: RelativeBias | None = None
    """Biases between the new positions and what their rows read."""


def new_mask(
    cache: Cache, valid: Tensor | None, n: int, causal: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Which keys the new positions see [R, 1, n, T], and where they go [R, n]."""
    if cache.uniform and valid is None:
        if n == 1 or not causal:
            return None, None
        total = cache.longest + n
        past = torch.ones(n, total, dtype=torch.bool).tril(cache.longest)
        return to_device(past[None, None], cache.lengths.device), None
    number = torch.arange(n, device=cache.lengths.device)
    slot = cache.lengths[:, None] + number
    key = torch.arange(cache.longest + n, device=cache.lengths.device)
    counts = torch.full_like(cache.lengths, n) if valid is None else valid.sum(1)
    last = slot if causal else (cache.lengths + counts - 1)[:, None].expand_as(slot)
    mask = key <= last.unsqueeze(-1)
    return mask.unsqueeze(1), slot


def layer_step(layer: TransformerLayer, x: Tensor, step: DecodeStep) -> Tensor:
    """States [R, n, H] -> [R, n, H]; writes the new keys and values into the cache."""
    inner = layer.attention_norm(x) if layer.pre else x
    branch = _scaled(_self_attention(layer, inner, step), layer.attention_scale)
    x = _residual(layer, x, branch, layer.attention_norm)
    x = _cross(layer, x, step)
    inner = layer.ffn_norm(x) if layer.pre else x
    flat = inner.flatten(0, 1)
    branch = layer.ffn(flat, step.routing)[0] if isinstance(layer.ffn, Experts) else layer.ffn(flat)
    residual = x if layer.residual_scale is None else x * layer.residual_scale
    return _residual(layer, residual, branch.view_as(x), layer.ffn_norm)


def _residual(layer: TransformerLayer, x: Tensor, branch: Tensor, norm: torch.nn.Module) -> Tensor:
    return x + branch if layer.pre else norm(x + branch)  # type: ignore[no-any-return]


def _self_attention(layer: TransformerLayer, x: Tensor, step: DecodeStep) -> Tensor:
    attention, cache = layer.attention, step.cache
    q, k, v = attention.project(x, len(x), step.rotation)
    q, k, v = (
        attention.scaled(q, step.query).transpose(1, 2),
        joined(k, step.key).transpose(1, 2),
        v.transpose(1, 2),
    )
    keys, values = cache.keys[layer.index], cache.values[layer.index]
    if step.slot is None:
        keys[:, :, cache.longest : step.total] = k
        values[:, :, cache.longest : step.total] = v
    else:
        where = step.slot[:, None, :, None]
        keys.scatter_(2, where.expand_as(k), k)
        values.scatter_(2, where.expand_as(v), v)
    mask = masked(step.mask, x.dtype)
    bias = bias_of(step.relative, layer.index, mask)
    seen = keys[:, :, : step.total], values[:, :, : step.total]
    out = _attend(attention, q, *seen, bias)
    return attention.out(attention.merge(out))  # type: ignore[no-any-return]


def _attend(attention: Attention, q: Tensor, k: Tensor, v: Tensor, bias: Bias) -> Tensor:
    """Attention without dropout, behind what prefix tuning has learned for the task of all rows."""
    learned = attention.learned()
    if learned is not None:
        k, v, bias = Ahead(learned.keys, learned.values).put(k, v, bias)
    return attend(q, k, v, bias, 0.0, False)


def _cross(layer: TransformerLayer, x: Tensor, step: DecodeStep) -> Tensor:
    assert layer.cross is not None and layer.cross_norm is not None
    memory, source = step.cache.memory, step.cache.source
    if memory is None:
        return x if layer.pre else layer.cross_norm(x)  # type: ignore[no-any-return]
    inner = layer.cross_norm(x) if layer.pre else x
    q = layer.cross.scaled(layer.cross.project(inner, len(inner)), step.cross_query).transpose(1, 2)
    keys, values, mask = memory.keys[layer.index], memory.values[layer.index], memory.mask
    if step.beams:
        q = q.unflatten(0, (-1, step.beams)).transpose(1, 2).flatten(2, 3)
        wide_mask = mask[:, None, None] if mask is not None else None
        bias = Bias(masked(wide_mask, x.dtype))
        out = _attend(layer.cross, q, keys, values, bias)
        out = out.unflatten(2, (step.beams, -1)).transpose(1, 2).flatten(0, 1)
    else:
        row = source.clamp(min=0)
        chosen = mask[row][:, None, None] if mask is not None else None
        bias = bias_of(step.cross, layer.index, masked(chosen, x.dtype))
        out = _attend(layer.cross, q, keys[row], values[row], bias)
    branch = _scaled(layer.cross.out(layer.cross.merge(out)), layer.cross_scale)
    if step.blind is not None:
        branch = torch.where(step.blind, 0.0, branch)
    return _residual(layer, x, branch, layer.cross_norm)


def blind_rows(cache: Cache) -> Tensor | None:
    """Rows [R, 1, 1] without anything to read; None where there are none."""
    if cache.memory is None:
        return None
    mask = cache.memory.mask
    if cache.known_source is not None and cache.memory.empty is not None:
        none = [source < 0 or source in cache.memory.empty for source in cache.known_source]
        return numbers_on(none, cache.source.device)[:, None, None] if any(none) else None
    blind = (
        cache.source < 0
        if mask is None
        else (cache.source < 0) | ~mask.any(1)[cache.source.clamp(min=0)]
    )
    return blind[:, None, None] if bool(blind.any()) else None


def beams_of(source: Tensor, sources: int, known: tuple[int, ...] | None = None) -> int:
    """Rows of each source, if all have equally many and stand in order; else 0. ``known``: what ``source`` holds."""
    if sources == 0 or len(source) % sources:
        return 0
    beams = len(source) // sources
    if known is not None:
        return (
            beams
            if known == tuple(number for number in range(sources) for _ in range(beams))
            else 0
        )
    expected = torch.arange(sources, device=source.device).repeat_interleave(beams)
    return beams if torch.equal(source, expected) else 0


def masked(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """0 where the mask is True, -inf elsewhere. A row without any True is left unmasked: its result is not used."""
    if mask is None:
        return None
    mask = mask | ~mask.any(-1, keepdim=True)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)
