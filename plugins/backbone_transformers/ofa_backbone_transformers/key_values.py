"""Caches of transformers whose rows are chosen, doubled and copied. Nothing in them is changed in place."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass
class KeyValues:
    """A cache and how many of its places belong to the source."""

    cache: Any
    places: int = 0


def new_cache(both: bool = False) -> Any:
    """An empty cache; ``both``: of a decoder that reads an encoder."""
    from transformers import DynamicCache, EncoderDecoderCache

    return EncoderDecoderCache(DynamicCache(), DynamicCache()) if both else DynamicCache()


def copied(cache: Any) -> Any:
    """An independent cache with the same tensors: its layers make new ones when they grow."""
    twin = copy.copy(cache)
    if hasattr(cache, "self_attention_cache"):
        twin.self_attention_cache = copied(cache.self_attention_cache)
        twin.cross_attention_cache = copied(cache.cross_attention_cache)
        twin.is_updated = dict(cache.is_updated)
        return twin
    twin.layers = [copy.copy(layer) for layer in cache.layers]
    return twin


def chosen_rows(cache: Any, rows: Tensor) -> Any:
    """A cache of rows by index int64 [R]."""
    twin = copied(cache)
    halves = (
        (twin.self_attention_cache, twin.cross_attention_cache)
        if hasattr(twin, "self_attention_cache")
        else (twin,)
    )
    for layer in (layer for half in halves for layer in half.layers):
        if getattr(layer, "keys", None) is not None:
            layer.keys = layer.keys.index_select(0, rows)
            layer.values = layer.values.index_select(0, rows)
    return twin
