"""Positions apart from content: what models of the OFA family use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ofa_positions_untied.places import DEFAULT_GRID, GridPlaces, LinePlaces, Places
from ofacore.parts import keep_part, kinds_in, own_heads, positions_of_kind, to_parts
from ofacore.protocols import (
    AttentionPlace,
    Positions,
    PositionsContext,
    PositionView,
    RelativeBias,
    Stack,
)


class AdapterPlaces(nn.Module):
    """Tables of one adapter on one side.

    Attributes:
        tables: Position vectors, one table for each of the adapter's ``places``; they are added up.
        relative: For each layer (or for all of them together) one table of biases for each of ``places`` that has any.
    """

    def __init__(self, places: list[Places], context: PositionsContext, layers: int) -> None:
        super().__init__()
        hidden, options = context.hidden, context.options
        self.places = nn.ModuleList(places)
        self.tables = nn.ModuleList(nn.Embedding(part.rows, hidden) for part in places)
        self.norm = (
            nn.LayerNorm(hidden)
            if options["layernorm"] and not options["entangled"]
            else nn.Identity()
        )
        self.graded = [part for part in places if part.distances and options["attention_bias"]]
        number = 1 if options["share_bias"] else layers
        self.relative = nn.ModuleList(self._biases(context.heads) for _ in range(number))

    def forward(self, coordinates: Tensor) -> Tensor:
        """Coordinates [n, 3] -> position vectors [n, H]."""
        parts = [
            table(part.row(coordinates))
            for part, table in zip(self.places, self.tables, strict=True)
        ]
        vectors = torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]
        return self.norm(vectors)  # type: ignore[no-any-return]

    def _biases(self, heads: int) -> nn.ModuleList:
        """A table for each of `graded`, split by heads."""
        tables = nn.ModuleList(nn.Embedding(part.distances, heads) for part in self.graded)
        for table in tables:
            keep_part(table, weight=1)
        return tables


class Untied(nn.Module, Positions):
    """Learned position vectors of each adapter and side, with query and key projections of their own that all layers
    share (TUPE, Ke et al. 2020), and for each layer a bias by distance within each run: log-bucketed on lines (T5,
    Raffel et al. 2019), two-dimensional on grids. Cross-attention has its own projections and no bias by distance.
    """

    packs: ClassVar[bool] = False
    restarts: ClassVar[bool] = True
    splits_heads: ClassVar[bool] = True

    def __init__(self, context: PositionsContext) -> None:
        super().__init__()
        self.context, options = context, context.options
        self.entangled = bool(options["entangled"])
        self.biased = bool(options["attention_bias"])
        self.most = context.max_positions
        self.plain = () if self.biased else ("encoder",)
        self.heads = own_heads(context.heads)
        self.scale = (context.head_size * context.scale_factor) ** -0.5
        self.encoder = self._side(context.encoder_layers)
        self.decoder = self._side(context.decoder_layers)
        self.width = 0 if self.entangled else context.head_size
        projected = () if self.entangled else ("encoder", "decoder", "cross")
        wide = context.heads * context.head_size
        self.query = nn.ModuleDict({place: nn.Linear(context.hidden, wide) for place in projected})
        self.key = nn.ModuleDict({place: nn.Linear(context.hidden, wide) for place in projected})
        for linear in (*self.query.values(), *self.key.values()):
            keep_part(linear, weight=0, bias=0)

    def _side(self, layers: int) -> nn.ModuleDict:
        context = self.context
        return nn.ModuleDict(
            {
                name: AdapterPlaces(_places(name, context), context, layers)
                for name in context.adapters
            }
        )

    def readers(self, name: str) -> tuple[tuple[Stack, int | None], ...]:
        """(Side, layer) that read a parameter; layer None: all of the side. For models cut into stages."""
        part, owner, *rest = name.split(".")
        if part in ("query", "key"):
            stack: Stack = "encoder" if owner == "encoder" else "decoder"
            return ((stack, None),)
        side: Stack = "encoder" if part == "encoder" else "decoder"
        if rest[0] == "relative":
            layer = None if self.context.options["share_bias"] else int(rest[1])
            return ((side, layer),)
        read = side == "encoder" and not self.entangled
        return (("encoder", None), ("decoder", None)) if read else ((side, None),)

    def _own(self, stack: Stack, number: int) -> AdapterPlaces:
        side = self.encoder if stack == "encoder" else self.decoder
        own: AdapterPlaces = side[self.context.adapters[number]]
        return own

    def states(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor | None:
        """Position vectors [n, H] to add to the embeddings, if entangled."""
        return self._look_up(stack, coordinates, kind) if self.entangled else None

    def vectors(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor | None:
        """Position vectors [n, H], unless entangled."""
        return None if self.entangled else self._look_up(stack, coordinates, kind)

    def _look_up(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor:
        present = kinds_in(kind)
        if len(present) == 1:
            return self._own(stack, present[0])(coordinates)  # type: ignore[no-any-return]
        first = next(self.parameters())
        found = first.new_zeros(len(kind), self.context.hidden)
        for number in present:
            index = positions_of_kind(kind, number)
            found = found.index_copy(0, index, self._own(stack, number)(coordinates[index]))
        return found

    def features(
        self, place: AttentionPlace, role: Literal["query", "key"], vectors: Tensor | None
    ) -> Tensor | None:
        """Vectors [..., H] -> [..., own heads, width]; queries are scaled."""
        if vectors is None:
            return None
        project = (self.query if role == "query" else self.key)[place]
        found: Tensor = project(to_parts(vectors)).unflatten(-1, (self.heads, -1))
        return found * self.scale if role == "query" else found

    def relative(
        self, place: AttentionPlace, queries: PositionView, keys: PositionView
    ) -> RelativeBias | None:
        """Biases by distance; None for cross-attention and where no adapter has any."""
        if place == "cross" or not self.biased:
            return None
        owners = [self._own(place, number) for number in range(len(self.context.adapters))]
        present = [n for n in kinds_in(queries.kind) if owners[n].graded]
        if not present:
            return None
        same = queries.run[:, :, None] == keys.run[:, None]
        nothing = sum(part.distances for number in present for part in owners[number].graded)
        indices: list[Tensor] = []
        start = 0
        for number in present:
            mine = same if len(present) == 1 else same & (queries.kind == number)[:, :, None]
            for depth, part in enumerate(owners[number].graded):
                rows = torch.where(
                    mine, part.bucket(queries.coordinates, keys.coordinates) + start, nothing
                ).int()
                start += part.distances
                if depth < len(indices):
                    indices[depth] = torch.where(mine, rows, indices[depth])
                else:
                    indices.append(rows)
        tables = [owners[number].relative for number in present]
        return RelativeBias(tuple(indices), lambda layer: _table(tables, layer))


def _table(tables: Sequence[nn.ModuleList], layer: int) -> Tensor:
    """All tables of a layer, one below the other, and a row of zeros."""
    parts = [table.weight for own in tables for table in own[layer % len(own)]]  # type: ignore[union-attr, arg-type]
    return torch.cat([*parts, parts[0].new_zeros(1, parts[0].shape[1])])


def _places(name: str, context: PositionsContext) -> list[Places]:
    most = context.max_positions
    if name in context.lines:
        own = context.lines[name]
        return [LinePlaces(0, own.rows, own.reach + 1, own.buckets)]
    line = LinePlaces(0, most + 2, most, int(context.options["buckets"]))
    if name in context.linear:
        return [line]
    if name in context.grids:
        return [GridPlaces(context.grids[name])]
    return [GridPlaces(DEFAULT_GRID), line]
