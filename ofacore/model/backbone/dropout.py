"""Dropout that is fast on a CPU, and stochastic depth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ofacore.parallel.process_groups import tensor_rank, tensor_size

_LEVELS = 1 << 16


@contextmanager
def own_random_numbers(needed: bool = True) -> Iterator[None]:
    """Random numbers that differ between processes of a tensor group, for what is split over them.

    Everywhere else they agree, and they go on agreeing: of torch's default generator each process takes one number,
    which together with its rank seeds what happens inside. So activation checkpointing repeats that, too.
    """
    if not needed or tensor_size() == 1:
        yield
        return
    seed = int(torch.empty((), dtype=torch.int64).random_())
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed((seed + tensor_rank() * 0x9E3779B97F4A7C15) % 2**63)
        yield


def keep_mask(shape: torch.Size, rate: float, dtype: torch.dtype) -> Tensor:
    """Independent zeros (with probability ``rate``, to 1/65,536) and ones on the CPU.

    Sixteen bits of an SFC64 stream decide each element; the stream's seed is one draw from torch's default generator,
    so ``torch.manual_seed`` fixes the mask and activation checkpointing repeats it. torch's own Bernoulli sampler
    draws one number after the other from a Mersenne twister.
    """
    number = shape.numel()
    seed = int(torch.empty((), dtype=torch.int64).random_())
    words = np.random.SFC64(seed).random_raw((number + 3) // 4)
    bits = torch.from_numpy(words.view(np.int16)[:number])
    threshold = round(rate * _LEVELS) - _LEVELS // 2
    return torch.ge(bits, threshold, out=torch.empty(number, dtype=dtype)).view(shape)


def keep_scale(rate: float) -> float:
    """Factor that keeps the expectation, for the rate that `keep_mask` really uses."""
    return _LEVELS / (_LEVELS - round(rate * _LEVELS))


class _Masked(torch.autograd.Function):
    """``residual + x * mask * scale`` in one pass; the residual may be absent."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float, residual: Tensor | None) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale, ctx.has_residual = scale, residual is not None
        if residual is None:
            return torch.mul(x, mask).mul_(scale)
        return torch.addcmul(residual, x, mask, value=scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (mask,) = ctx.saved_tensors
        return (grad * mask).mul_(ctx.scale), None, None, grad if ctx.has_residual else None


def dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Inverted dropout (Srivastava et al. 2014)."""
    if not training or rate == 0.0:
        return x
    if x.device.type != "cpu":
        return functional.dropout(x, rate)
    return _Masked.apply(x, keep_mask(x.shape, rate, x.dtype), keep_scale(rate), None)  # type: ignore[no-any-return]


def add_dropped(residual: Tensor, x: Tensor, rate: float, training: bool) -> Tensor:
    """``residual + dropout(x)``."""
    if not training or rate == 0.0:
        return residual + x
    if x.device.type != "cpu":
        return residual + functional.dropout(x, rate)
    return _Masked.apply(x, keep_mask(x.shape, rate, x.dtype), keep_scale(rate), residual)  # type: ignore[no-any-return]


def drop_path(x: Tensor, sequence: Tensor, sequences: int, rate: float, training: bool) -> Tensor:
    """Leave out a residual branch ``x [N, H]`` for whole sequences (stochastic depth, Huang et al. 2016)."""
    if not training or rate == 0.0:
        return x
    keep = torch.rand(sequences, device=x.device).ge_(rate).div_(1.0 - rate)
    return x * keep.to(x.dtype)[sequence].unsqueeze(-1)
