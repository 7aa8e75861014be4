"""Which adapters made the positions of a tensor, for position schemes, without a wait for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def note_kinds(kind: Tensor, numbers: Sequence[int], counts: Sequence[int]) -> None:
    """Write on a tensor of adapters' numbers how many positions each has: the host knows, and need not ask."""
    found: dict[int, int] = {}
    for number, count in zip(numbers, counts, strict=True):
        if count:
            found[number] = found.get(number, 0) + count
    kind.known_kinds = found  # type: ignore[attr-defined]


def kinds_in(kind: Tensor) -> list[int]:
    """Numbers that a tensor of adapters' numbers holds, ascending; where asking is a wait, it may hold fewer."""
    known: dict[int, int] | None = getattr(kind, "known_kinds", None)
    if kind.device.type != "cpu" and known is not None:
        return sorted(known)
    found: list[int] = kind.unique().tolist()
    return found


def positions_of_kind(kind: Tensor, number: int) -> Tensor:
    """int64 [n]: where a tensor [N] of adapters' numbers, as `note_kinds` knows it, holds one of them."""
    known: dict[int, int] | None = getattr(kind, "known_kinds", None)
    if kind.device.type != "cpu" and known is not None:
        return torch.nonzero_static(kind == number, size=known[number]).squeeze(1)
    return (kind == number).nonzero().squeeze(1)
