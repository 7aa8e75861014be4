"""What attention adds to its scores, as small tables and indices: never one number for each head and pair of positions
before it is needed, and never kept for the backward pass where rows are long.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ofacore.parallel.regions import own_share
from ofacore.protocols import RelativeBias


@dataclass
class Bias:
    """Addend of the scores [R, h, L, K] of one group in one layer."""

    mask: Tensor | None = None
    """[R or 1, 1, L, K]: 0, or -inf where a key is not seen."""
    table: Tensor | None = None
    """[rows, h]: biases of this layer."""
    indices: tuple[Tensor, ...] = ()
    """int32 [R, L, K] each: rows of the table, to be added up."""

    def dense(self, queries: slice = slice(None)) -> Tensor | None:
        """The addend for some of the queries, broadcastable to [R, h, l, K]; None: nothing is added."""
        total = None if self.mask is None else self.mask[:, :, queries]
        if self.table is None:
            return total
        for index in self.indices:
            part = functional.embedding(index[:, queries], self.table).permute(0, 3, 1, 2)
            total = part if total is None else part + total
        return total

    def behind(self, ahead: int, keys: int, seen: Tensor | None, dtype: torch.dtype) -> Bias:
        """The addend with more keys in front, to which nothing is added.

        Args:
            ahead: Their number P.
            keys: That of the others, K.
            seen: bool [R, 1, L, P]: query sees key in front; None: every one does.
            dtype: Of the scores.
        """
        mask = self.mask
        if seen is not None:
            front = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
            front = front.masked_fill(~seen, -torch.inf)
            own = front.new_zeros(1) if mask is None else mask
            mask = torch.cat([front, own.expand(*seen.shape[:-1], keys)], dim=-1)
        elif mask is not None:
            mask = functional.pad(mask, (ahead, 0))
        if self.table is None:
            return Bias(mask)
        none = len(self.table)
        indices = [functional.pad(index, (ahead, 0), value=none) for index in self.indices]
        return Bias(mask, functional.pad(self.table, (0, 0, 0, 1)), tuple(indices))


def own_bias(found: RelativeBias) -> RelativeBias:
    """The same from tables for all heads, of which this process takes its own."""
    return RelativeBias(found.indices, lambda layer: own_share(found.table(layer), 1))


def bias_of(relative: RelativeBias | None, layer: int, mask: Tensor | None) -> Bias:
    """The addend of one layer, under a mask."""
    return Bias(mask) if relative is None else Bias(mask, relative.table(layer), relative.indices)
