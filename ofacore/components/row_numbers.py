"""Random numbers for the rows of a batch, each row's its own: what is drawn depends on neither batch nor neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from ofacore.protocols import RowRequest

_SEEDS = 2**63 - 1


def row_generators(requests: Sequence[RowRequest]) -> list[torch.Generator]:
    """A generator on the CPU for each request, seeded by the next number of its row's ``ctx.rng``."""
    seeds = [int(request.ctx.rng.integers(_SEEDS)) for request in requests]
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def normal_rows(
    generators: Sequence[torch.Generator], lengths: Sequence[int], width: int
) -> Tensor:
    """Standard normal numbers, float32 [sum of lengths, width], row by row."""
    pairs = zip(generators, lengths, strict=True)
    return torch.cat([torch.randn(length, width, generator=own) for own, length in pairs])


def uniform_rows(
    generators: Sequence[torch.Generator], lengths: Sequence[int], width: int
) -> Tensor:
    """Numbers from 0 to 1, float32 [sum of lengths, width], row by row."""
    pairs = zip(generators, lengths, strict=True)
    return torch.cat([torch.rand(length, width, generator=own) for own, length in pairs])
