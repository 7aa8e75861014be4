"""What attention adds to its scores, as small tables and indices: never one number for each head and pair of positions
before it is needed, and never kept for the backward pass where rows are long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ofacore.parallel.regions import own_share


@dataclass
class Bias:
    """Addend of the scores [R, h, L, K] of one group in one layer."""

    mask: Tensor | None = None
    """[R or 1, 1, L, K]: 0, or -inf where a key is not seen."""
    table: Tensor | None = None
    """[rows + 1, h]: biases of this layer; the last row is zero."""
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


@dataclass
class Relative:
    """Biases by distance of one group in all layers."""

    indices: tuple[Tensor, ...]
    """int32 [R, L, K] each; all layers share them."""
    tables: Sequence[nn.ModuleList]
    """For each adapter present: layer (or one for all layers) -> tables, in the order that the indices count."""

    def table(self, layer: int) -> Tensor:
        """All tables of a layer, one below the other, and a row of zeros."""
        parts = [table.weight for own in self.tables for table in own[layer % len(own)]]  # type: ignore[union-attr, arg-type]
        return torch.cat([*parts, parts[0].new_zeros(1, parts[0].shape[1])])

    def bias(self, layer: int, mask: Tensor | None) -> Bias:
        """The addend of one layer, under a mask."""
        return Bias(mask, self.table(layer), self.indices)


@dataclass
class OwnRelative(Relative):
    """The same from tables for all heads, of which this process takes its own."""

    def table(self, layer: int) -> Tensor:
        """As in `Relative`, of own heads."""
        return own_share(super().table(layer), 1)
