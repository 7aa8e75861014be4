"""Weights that need no storing: every number follows from its tensor's name and its place in it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

_TIED = {"decoder.adaptor.embed_tokens.weight": "encoder.adaptor.embed_tokens.weight"}


def noise(name: str, count: int) -> np.ndarray:
    """float32 [count] in [-1, 1), multiples of 2**-23: SplitMix64 (Steele et al. 2014) of places and the name's CRC."""
    state = np.uint64(zlib.crc32(name.encode()) << 32) + np.arange(count, dtype=np.uint64)
    with np.errstate(over="ignore"):
        state = state * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x632BE59BD9B4E019)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state = (state ^ state >> np.uint64(shift)) * np.uint64(factor)
    top = (state ^ state >> np.uint64(31)) >> np.uint64(40)
    return top.astype(np.float32) / np.float32(2**23) - np.float32(1)


def middle_and_reach(name: str, shape: Sequence[int]) -> tuple[float, float]:
    """Numbers of a tensor lie in middle - reach to middle + reach."""
    leaf = name.rpartition(".")[2]
    if leaf == "c_attn":
        return 1.0, 0.5
    if leaf == "weight" and any(mark in name for mark in ("layer_norm", "layernorm", "_ln.")):
        return 1.0, 0.25
    if leaf == "bias":
        return 0.0, 0.125
    if "rel_pos_table" in name:
        return 0.0, 1.0
    if any(mark in name for mark in ("embed_tokens", "type_embedding", "_positions")):
        return 0.0, 0.5
    return 0.0, float(np.float32((3.0 / max(1, int(np.prod(shape[1:])))) ** 0.5))


def refilled(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Tensors of these names and shapes; the row of padding is zero."""
    found = {}
    for name, shape in shapes.items():
        middle, reach = middle_and_reach(name, shape)
        values = np.float32(middle) + np.float32(reach) * noise(
            _TIED.get(name, name), int(np.prod(shape))
        )
        found[name] = torch.from_numpy(values.reshape(shape))
        if "embed_tokens" in name:
            found[name][1] = 0.0
    return found
