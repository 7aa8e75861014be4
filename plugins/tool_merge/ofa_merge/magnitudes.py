"""The k-th largest magnitude of numbers that lie in many tensors, without holding more than one of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

_HALF = 16
"""Bits that one pass looks at: of floats that are not negative, order of numbers is order of bits."""


def smallest_kept(parts: Callable[[], Iterable[Tensor]], share: float) -> float:
    """The smallest magnitude among a share of the largest, by two passes of radix selection; exact.

    Args:
        parts: Gives the tensors (fp32), once for each call.
        share: Above 0, up to 1.

    Returns:
        The magnitude; numbers that equal it are kept too. 0 where there are no numbers.
    """
    upper = torch.zeros(1 << _HALF, dtype=torch.int64)
    for part in parts():
        upper += _counted(_bits(part) >> _HALF)
    wanted = math.ceil(share * int(upper.sum()))
    if not wanted:
        return 0.0
    first, above = _bin_of(upper, wanted)
    lower = torch.zeros(1 << _HALF, dtype=torch.int64)
    for part in parts():
        bits = _bits(part)
        lower += _counted(bits[bits >> _HALF == first] & ((1 << _HALF) - 1))
    second, _ = _bin_of(lower, wanted - above)
    found = torch.tensor([(first << _HALF) | second], dtype=torch.int32)
    return float(found.view(torch.float32))


def _bits(part: Tensor) -> Tensor:
    return part.abs().flatten().contiguous().view(torch.int32)


def _counted(bins: Tensor) -> Tensor:
    return torch.bincount(bins, minlength=1 << _HALF)


def _bin_of(counts: Tensor, wanted: int) -> tuple[int, int]:
    """The bin that holds the wanted-th largest number, and how many lie in the bins above it."""
    from_top = counts.flip(0).cumsum(0)
    place = int((from_top >= wanted).nonzero()[0])
    found = len(counts) - 1 - place
    return found, int(from_top[place] - counts[found])
