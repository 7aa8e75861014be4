"""Positions apart from content: what models of the OFA family use."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ofacore.model.bias import Relative
from ofacore.model.places import DEFAULT_GRID, GridPlaces, LinePlaces, Places
from ofacore.model.positions import Place, PositionOptions, Stack
from ofacore.model.rows import View, kinds_in, places_of_kind
from ofacore.parallel.groups import tensor_size
from ofacore.parallel.layers import keep_part
from ofacore.parallel.regions import to_parts


class AdapterPlaces(nn.Module):
    """Tables of one adapter on one side.

    Attributes:
        tables: Position vectors, one table for each of the adapter's ``places``; they are added up.
        relative: For each layer (or for all of them together) one table of biases for each of ``places`` that has any.
    """

    def __init__(self, places: list[Places], options: PositionOptions, layers: int) -> None:
        super().__init__()
        hidden = options.sizes.hidden
        self.places = nn.ModuleList(places)
        self.tables = nn.ModuleList(nn.Embedding(part.rows, hidden) for part in places)
        self.norm = nn.LayerNorm(hidden) if options.normalise and not options.entangled else nn.Identity()
        self.graded = [part for part in places if part.distances and options.relative]
        number = 1 if options.share else layers
        self.relative = nn.ModuleList(
            nn.ModuleList(nn.Embedding(part.distances, options.heads) for part in self.graded) for _ in range(number)
        )
        for table in (table for own in self.relative for table in own):  # type: ignore[union-attr, attr-defined]
            keep_part(table, weight=1)

    def forward(self, coordinates: Tensor) -> Tensor:
        """Coordinates [n, 3] -> position vectors [n, H]."""
        parts = [table(part.row(coordinates)) for part, table in zip(self.places, self.tables, strict=True)]
        return self.norm(torch.stack(parts).sum(0) if len(parts) > 1 else parts[0])  # type: ignore[no-any-return]


class Untied(nn.Module):
    """Learned position vectors of each adapter and side, with query and key projections of their own that all layers
    share (TUPE, Ke et al. 2020), and for each layer a bias by distance within each run: log-bucketed on lines (T5,
    Raffel et al. 2019), two-dimensional on grids. Cross-attention has its own projections and no bias by distance.
    """

    packs: ClassVar[bool] = False
    restarts: ClassVar[bool] = True
    splits_heads: ClassVar[bool] = True

    def __init__(self, options: PositionOptions) -> None:
        super().__init__()
        self.options, sizes = options, options.sizes
        self.most = options.max_positions
        self.heads = options.heads // tensor_size()
        self.scale = (sizes.head_size * options.scale_factor) ** -0.5
        self.encoder = self._side(sizes.encoder_layers)
        self.decoder = self._side(sizes.decoder_layers)
        self.width = 0 if options.entangled else sizes.head_size
        biased = () if options.entangled else ("encoder", "decoder", "cross")
        wide = options.heads * sizes.head_size
        self.query = nn.ModuleDict({place: nn.Linear(sizes.hidden, wide) for place in biased})
        self.key = nn.ModuleDict({place: nn.Linear(sizes.hidden, wide) for place in biased})
        for linear in (*self.query.values(), *self.key.values()):
            keep_part(linear, weight=0, bias=0)

    def _side(self, layers: int) -> nn.ModuleDict:
        options = self.options
        return nn.ModuleDict(
            {name: AdapterPlaces(_places(name, options), options, layers) for name in options.adapters}
        )

    def readers(self, name: str) -> tuple[tuple[Stack, int | None], ...]:
        """(Side, layer) that read a parameter; layer None: all of the side. For models cut into stages."""
        part, owner, *rest = name.split(".")
        if part in ("query", "key"):
            return (("encoder" if owner == "encoder" else "decoder", None),)
        side: Stack = "encoder" if part == "encoder" else "decoder"
        if rest[0] == "relative":
            return ((side, None if self.options.share else int(rest[1])),)
        read = side == "encoder" and not self.options.entangled
        return (("encoder", None), ("decoder", None)) if read else ((side, None),)

    def _own(self, stack: Stack, number: int) -> AdapterPlaces:
        side = self.encoder if stack == "encoder" else self.decoder
        own: AdapterPlaces = side[self.options.adapters[number]]
        return own

    def rotation(self, coordinates: Tensor) -> Tensor | None:
        """Nothing is rotated."""
        return None

    def states(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor | None:
        """Position vectors [n, H] to add to the embeddings, if entangled."""
        return self._look_up(stack, coordinates, kind) if self.options.entangled else None

    def vectors(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor | None:
        """Position vectors [n, H], unless entangled."""
        return None if self.options.entangled else self._look_up(stack, coordinates, kind)

    def _look_up(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor:
        present = kinds_in(kind)
        if len(present) == 1:
            return self._own(stack, present[0])(coordinates)  # type: ignore[no-any-return]
        first = next(self.parameters())
        found = first.new_zeros(len(kind), self.options.sizes.hidden)
        for number in present:
            index = places_of_kind(kind, number)
            found = found.index_copy(0, index, self._own(stack, number)(coordinates[index]))
        return found

    def features(self, place: Place, role: Literal["query", "key"], vectors: Tensor | None) -> Tensor | None:
        """Vectors [..., H] -> [..., own heads, width]; queries are scaled."""
        if vectors is None:
            return None
        project = (self.query if role == "query" else self.key)[place]
        found: Tensor = project(to_parts(vectors)).unflatten(-1, (self.heads, -1))
        return found * self.scale if role == "query" else found

    def relative(self, place: Place, queries: View, keys: View) -> Relative | None:
        """Biases by distance; None for cross-attention and where no adapter has any."""
        if place == "cross" or not self.options.relative:
            return None
        owners = [self._own(place, number) for number in range(len(self.options.adapters))]
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
                rows = torch.where(mine, part.bucket(queries.coordinates, keys.coordinates) + start, nothing).int()
                start += part.distances
                if depth < len(indices):
                    indices[depth] = torch.where(mine, rows, indices[depth])
                else:
                    indices.append(rows)
        return Relative(tuple(indices), [owners[number].relative for number in present])


def _places(name: str, options: PositionOptions) -> list[Places]:
    line = LinePlaces(0, options.max_positions + 2, options.max_positions, options.buckets)
    if name in options.linear:
        return [line]
    if name in options.grids:
        return [GridPlaces(options.grids[name])]
    return [GridPlaces(DEFAULT_GRID), line]
