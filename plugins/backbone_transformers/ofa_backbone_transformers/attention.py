"""Keys and values that are learned in front of those of an attention of transformers.

Layers of transformers hand queries, keys and values to a function that the configuration names, behind everything that
is made from positions and behind the cache. The functions here put what an attention has learned in front, and leave
the rest to the function that was named before.

Shapes: s rows, g heads of queries, h of keys, L queries, K keys, P learned keys, d and e their widths.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ofacore.plugin import UserError
from ofacore.protocols import KeysAhead, KeyShape

PREFIX = "prefix"
"""What an attention calls the module that gives it keys."""
_OURS = {"sdpa": "ofacore_sdpa", "eager": "ofacore_eager"}
"""Name of a function of transformers -> of ours before it."""
_seen: ContextVar[dict[nn.Module, KeyShape] | None] = ContextVar("seen", default=None)


def take_keys(layers: nn.Module, kind: str) -> None:
    """Make attention of some layers ask for learned keys.

    Args:
        layers: Of a model of transformers.
        kind: What it is called, for messages.

    Raises:
        UserError: Its attention is computed by a function that is not known here.
    """
    for config in _configurations(layers):
        named = config._attn_implementation
        if named in _OURS.values():
            continue
        if named not in _OURS:
            raise UserError(
                f"model.prefix: this {kind} computes attention by '{named}', which takes no keys from outside; leave "
                "attn_implementation out of its config.json"
            )
        _register()
        config._attn_implementation = _OURS[named]


@contextmanager
def watched() -> Iterator[Mapping[nn.Module, KeyShape]]:
    """Which attentions are called meanwhile, and the sizes of the keys that they take."""
    found: dict[nn.Module, KeyShape] = {}
    token = _seen.set(found)
    try:
        yield found
    finally:
        _seen.reset(token)


def _configurations(layers: nn.Module) -> list[Any]:
    """Each configuration that some module reads."""
    found = [getattr(part, "config", None) for part in layers.modules()]
    with_names = [one for one in found if hasattr(one, "_attn_implementation")]
    return list({id(one): one for one in with_names}.values())


def _register() -> None:
    """Tell transformers of the functions."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    for named, function in (("sdpa", _fused), ("eager", _plain)):
        AttentionInterface.register(_OURS[named], function)
        AttentionMaskInterface.register(_OURS[named], ALL_MASK_ATTENTION_FUNCTIONS[named])


def _fused(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **more: Any
) -> Any:
    """`sdpa`, which takes no mask for a causal one."""
    from transformers import AttentionInterface

    call = AttentionInterface()["sdpa"]
    ahead = _ahead(module, query, key, value)
    if ahead is None:
        return call(module, query, key, value, mask, **more)
    causal = more.get("is_causal")
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if mask is None and causal and query.shape[2] > 1:
        mask = query.new_ones(query.shape[2], key.shape[2], dtype=torch.bool).tril()[None, None]
    return _called(call, module, (query, key, value), mask, ahead, more)


def _plain(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **more: Any
) -> Any:
    """`eager`, which each family has its own function for."""
    call = sys.modules[type(module).__module__].eager_attention_forward  # type: ignore[attr-defined]
    ahead = _ahead(module, query, key, value)
    if ahead is None:
        return call(module, query, key, value, mask, **more)
    return _called(call, module, (query, key, value), mask, ahead, more)


def _ahead(module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> KeysAhead | None:
    """What an attention has learned for these rows."""
    seen = _seen.get()
    if seen is not None:
        seen[module] = KeyShape(key.shape[1], key.shape[3], value.shape[3])
    learned = getattr(module, PREFIX, None)
    return None if learned is None else learned(len(query))  # type: ignore[no-any-return]


def _called(
    call: Callable[..., Any],
    module: nn.Module,
    given: tuple[Tensor, Tensor, Tensor],
    mask: Tensor | None,
    ahead: KeysAhead,
    more: Mapping[str, Any],
) -> Any:
    """Attention with keys and values in front; a bias by distance is zero there."""
    query, key, value = given
    more, length = dict(more), ahead.keys.shape[2]
    if more.get("position_bias") is not None:
        more["position_bias"] = functional.pad(more["position_bias"], (length, 0))
    mask = _mask(mask, ahead, query, key)
    key = torch.cat([ahead.keys.to(key.dtype), key], dim=2)
    value = torch.cat([ahead.values.to(value.dtype), value], dim=2)
    return call(module, query, key, value, mask, **more)


def _mask(mask: Tensor | None, ahead: KeysAhead, query: Tensor, key: Tensor) -> Tensor | None:
    """Who sees whom, or what is added to scores, [s, 1, L, P + K]; None: all see all."""
    if mask is None and ahead.seen is None:
        return None
    if mask is None:
        mask = query.new_zeros(1, 1, query.shape[2], key.shape[2])
    mask = mask[..., : key.shape[2]]
    if ahead.seen is None:
        every = 1 if mask.dtype == torch.bool else 0
        return functional.pad(mask, (ahead.keys.shape[2], 0), value=every)
    seen = ahead.seen[:, None, None].expand(-1, mask.shape[1], mask.shape[2], -1)
    if mask.dtype != torch.bool:
        hidden = torch.finfo(mask.dtype).min
        seen = torch.zeros_like(seen, dtype=mask.dtype).masked_fill(~seen, hidden)
    return torch.cat([seen, mask.expand(len(seen), -1, -1, -1)], dim=-1)
