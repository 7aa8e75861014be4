"""Products of states with a weight on a CPU, by oneDNN where BLAS is slow at them.

BLAS runs a product of a few states, as in a step of decoding, or with a weight of very many rows, as of a vocabulary,
at a half to a quarter of the speed that square ones reach. oneDNN does better with the weight as it is, and better
still with a weight laid out in blocks beforehand. Both operations come with torch, whose compiler uses them likewise.
They know no gradients: where these are wanted, and wherever oneDNN is not, torch's own products serve.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

LONG = 8192
"""Rows from which on a weight that is not laid out goes to oneDNN."""
LARGE = 2**19
"""Elements from which on it pays to lay a weight out."""
FEW = 64
"""States up to which it pays."""
SEEN = 24
"""States that a weight must have seen before: laying it out takes about as long as it then saves on so many."""


class Blocked:
    """A weight laid out in blocks, once it has seen enough states. The weight must not change."""

    def __init__(self) -> None:
        self._seen = 0
        self._blocks: Tensor | None = None

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
        """As `linear`; None: not worth it, or not yet."""
        if self._seen < SEEN:
            self._seen += x.numel() // x.shape[-1]
            return None
        if self._blocks is None:
            self._blocks = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), FEW)
        return _onednn(x, self._blocks, bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., inputs] and weight [outputs, inputs] -> [..., outputs].

    By the blocks of the weight, where it has an attribute ``blocked`` and the states are few.
    """
    blocked: Blocked | None = getattr(weight, "blocked", None)
    if blocked is not None and x.numel() <= FEW * x.shape[-1] and _without_gradient(x, weight):
        found = blocked.linear(x, weight, bias)
        if found is not None:
            return found
    return functional.linear(x, weight, bias)


def projected(hidden: Tensor, weight: Tensor) -> Tensor:
    """hidden [m, H] and weight [v, H], as of a vocabulary -> [m, v]."""
    if len(weight) < LONG or not _without_gradient(hidden, weight) or not len(hidden):
        return linear(hidden, weight)
    blocked: Blocked | None = getattr(weight, "blocked", None)
    found = (
        None if blocked is None or len(hidden) > 2 * FEW else blocked.linear(hidden, weight, None)
    )
    return _onednn(hidden, weight, None) if found is None else found


def project_into(out: Tensor, hidden: Tensor, weight: Tensor) -> None:
    """As `projected`, written to ``out`` [m, v]: oneDNN makes memory of its own, so it works a piece at a time."""
    if len(weight) < LONG or not _without_gradient(hidden, weight) or not len(hidden):
        torch.mm(hidden, weight.T, out=out)
        return
    for start in range(0, len(weight), LONG):
        piece = slice(start, start + LONG)
        out[:, piece] = _onednn(hidden, weight[piece], None)


def can_be_blocked(weight: Tensor) -> bool:
    """Whether it may pay to lay a weight out."""
    return (
        weight.numel() >= LARGE
        and weight.dtype == torch.float32
        and weight.device.type == "cpu"
        and _available()
    )


def _without_gradient(x: Tensor, weight: Tensor) -> bool:
    kinds = (
        x.dtype == weight.dtype == torch.float32 and x.device.type == weight.device.type == "cpu"
    )
    return kinds and not torch.is_grad_enabled() and _available()


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return found


@cache
def _available() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
