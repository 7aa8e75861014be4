"""Position schemes: how attention knows where positions stand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ofacore.model.presets import Sizes
from ofacore.model.rows import View
from ofacore.parallel.groups import tensor_size
from ofacore.parallel.layers import keep_part
from ofacore.parallel.regions import own_share, to_parts

Place = Literal["encoder", "decoder", "cross"]


@dataclass(frozen=True)
class PositionOptions:
    """What a scheme needs to know of the model."""

    sizes: Sizes
    heads: int
    """Heads of the model; biases are for all of them."""
    max_positions: int = 1024
    scale_factor: float = 1.0
    share: bool = False
    """Relative tables are shared by all layers."""
    entangled: bool = False
    """Positions are added to the states instead of biasing attention."""
    normalise: bool = True


class Rotary(nn.Module):
    """Rotates queries and keys by their coordinates (Su et al. 2021), on three axes at once.

    Pair j of a head's features belongs to axis j mod 3, so that each axis (t, y, x) has a band of slow and fast
    pairs. Text uses equal coordinates on all axes, which makes this the usual rotation. No tables, no bias;
    cross-attention is not rotated.
    """

    packs = True
    splits_heads = True

    def __init__(self, options: PositionOptions, base: float = 10_000.0) -> None:
        super().__init__()
        pair = torch.arange(options.sizes.head_size // 2)
        each_axis = math.ceil(len(pair) / 3)
        self.axis = pair % 3
        self.frequency = base ** (-(pair // 3).double() / each_axis)

    def rotation(self, coordinates: Tensor) -> Tensor | None:
        """Coordinates [..., 3] -> complex64 [..., head size / 2], to multiply pairs of features with."""
        axis, frequency = self.axis.to(coordinates.device), self.frequency.to(coordinates.device)
        angle = coordinates.index_select(-1, axis).double() * frequency
        return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)

    def states(self, place: Place, coordinates: Tensor, plane: Tensor) -> Tensor | None:
        """Nothing is added to the states."""
        return None

    def shared_bias(self, place: Place, queries: View, keys: View) -> Tensor | None:
        """No bias."""
        return None

    def bias(self, place: Place, layer: int, queries: View, keys: View) -> Tensor | None:
        """No bias."""
        return None


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """x [..., heads, head size], rotation complex [..., head size / 2]; computed in fp32."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotation.unsqueeze(-2)).flatten(-2).type_as(x)


class Absolute(nn.Module):
    """Learned position vectors [n, H]: one table for lines, two more for the other axes of planes."""

    def __init__(self, options: PositionOptions) -> None:
        super().__init__()
        size, hidden = options.max_positions, options.sizes.hidden
        self.t, self.y, self.x = (nn.Embedding(size, hidden) for _ in range(3))
        self.norm = nn.LayerNorm(hidden) if options.normalise else nn.Identity()
        self.last = size - 1

    def forward(self, coordinates: Tensor, plane: Tensor) -> Tensor:
        """Coordinates [..., 3], plane [...] -> [..., H]."""
        t, y, x = coordinates.clamp(0, self.last).unbind(-1)
        flat = plane.unsqueeze(-1).to(self.t.weight.dtype)
        return self.norm(self.t(t) + flat * (self.y(y) + self.x(x)))  # type: ignore[no-any-return]


class Untied(nn.Module):
    """Positions apart from content: learned absolute vectors with their own query and key projections, shared by all
    layers (TUPE, Ke et al. 2020), and for each layer a relative bias within each segment, log-bucketed on lines
    (T5, Raffel et al. 2019) and two-dimensional on planes. Cross-attention has its own absolute bias.
    """

    packs = False
    splits_heads = True
    line_buckets, line_exact = 256, 128
    plane_reach = 42

    def __init__(self, options: PositionOptions) -> None:
        super().__init__()
        self.options = options
        hidden, heads = options.sizes.hidden, options.heads
        self.heads = heads // tensor_size()
        self.scale = (options.sizes.head_size * options.scale_factor) ** -0.5
        self.encoder, self.decoder = Absolute(options), Absolute(options)
        width = heads * options.sizes.head_size
        places = () if options.entangled else ("encoder", "decoder", "cross")
        self.query = nn.ModuleDict({place: nn.Linear(hidden, width) for place in places})
        self.key = nn.ModuleDict({place: nn.Linear(hidden, width) for place in places})
        depth = {"encoder": options.sizes.encoder_layers, "decoder": options.sizes.decoder_layers}
        tables = {place: 1 if options.share else number for place, number in depth.items()}
        side = 2 * self.plane_reach + 1
        self.line = nn.ModuleDict({place: _tables(n, 2 * self.line_buckets + 1, heads) for place, n in tables.items()})
        self.grid = nn.ModuleDict({place: _tables(n, side * side, heads) for place, n in tables.items()})
        self._keep_own_heads()

    def _keep_own_heads(self) -> None:
        for linear in (*self.query.values(), *self.key.values()):
            keep_part(linear, weight=0, bias=0)
        for table in (table for tables in (self.line, self.grid) for each in tables.values() for table in each):
            keep_part(table, weight=1)

    def readers(self, name: str) -> tuple[tuple[str, int | None], ...]:
        """(Side, layer) that read a parameter; layer None: all of the side. For models cut into stages."""
        part, side, *rest = name.split(".")
        if part in ("line", "grid"):
            return ((side, None if self.options.share else int(rest[0])),)
        if part in ("query", "key"):
            return (("encoder" if side == "encoder" else "decoder", None),)
        return (("decoder", None),) if part == "decoder" else (("encoder", None), ("decoder", None))

    def rotation(self, coordinates: Tensor) -> Tensor | None:
        """Nothing is rotated."""
        return None

    def states(self, place: Place, coordinates: Tensor, plane: Tensor) -> Tensor | None:
        """Position vectors to add to the states, if entangled."""
        return self._absolute(place)(coordinates, plane) if self.options.entangled else None

    def _absolute(self, place: Place) -> nn.Module:
        return self.encoder if place == "encoder" else self.decoder

    def shared_bias(self, place: Place, queries: View, keys: View) -> Tensor | None:
        """The absolute part, equal for all layers: [R, heads, L, K]."""
        if self.options.entangled:
            return None
        side = self._absolute(place)
        other = self.encoder if place == "cross" else side
        q = self.query[place](to_parts(side(queries.coordinates, queries.plane))).unflatten(-1, (self.heads, -1))
        k = self.key[place](to_parts(other(keys.coordinates, keys.plane))).unflatten(-1, (self.heads, -1))
        return torch.einsum("rlhd,rkhd->rhlk", q * self.scale, k)

    def bias(self, place: Place, layer: int, queries: View, keys: View) -> Tensor | None:
        """The relative part of a layer: [R, heads, L, K], zero between segments; None for cross-attention."""
        if place == "cross":
            return None
        table = 0 if self.options.share else layer
        distance = keys.coordinates[:, None] - queries.coordinates[:, :, None]
        line = self.line[place][table](self._line_bucket(distance[..., 0]))
        same = queries.segment[:, :, None] == keys.segment[:, None]
        plane = queries.plane[:, :, None]
        bias = line
        if bool(plane.any()):
            grid = self.grid[place][table](self._grid_bucket(distance))
            bias = torch.where(plane.unsqueeze(-1), grid, line)
        return (bias * same.unsqueeze(-1).to(bias.dtype)).permute(0, 3, 1, 2)

    def _line_bucket(self, distance: Tensor) -> Tensor:
        """Exact up to half the buckets, then logarithmic."""
        near = distance.abs().clamp(max=self.line_exact)
        ratio = (distance.abs().clamp(min=1).double() / self.line_exact).log()
        span = math.log(max(self.options.max_positions, 2 * self.line_exact) / self.line_exact)
        far = self.line_exact + (ratio / span * (self.line_buckets - self.line_exact)).long()
        size = torch.where(distance.abs() < self.line_exact, near, far.clamp(max=self.line_buckets))
        return size * distance.sign() + self.line_buckets

    def _grid_bucket(self, distance: Tensor) -> Tensor:
        y, x = (distance[..., axis].clamp(-self.plane_reach, self.plane_reach) + self.plane_reach for axis in (1, 2))
        return y * (2 * self.plane_reach + 1) + x


def _tables(number: int, rows: int, heads: int) -> nn.ModuleList:
    return nn.ModuleList(nn.Embedding(rows, heads) for _ in range(number))


class OwnHeads:
    """A scheme whose biases are for all heads, cut down to those of this process."""

    def __init__(self, scheme: Any) -> None:
        self.scheme = scheme
        self.packs, self.rotation, self.states = scheme.packs, scheme.rotation, scheme.states

    def shared_bias(self, place: Place, queries: View, keys: View) -> Tensor | None:
        """The part that all layers share."""
        return self._own(self.scheme.shared_bias(place, queries, keys))

    def bias(self, place: Place, layer: int, queries: View, keys: View) -> Tensor | None:
        """The part of one layer."""
        return self._own(self.scheme.bias(place, layer, queries, keys))

    @staticmethod
    def _own(bias: Tensor | None) -> Tensor | None:
        return bias if bias is None or bias.shape[1] == 1 else own_share(bias, 1)


SCHEMES: dict[str, type[nn.Module]] = {"rotary": Rotary, "untied": Untied}


def total_bias(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Sum of the parts that are there."""
    total = None
    for part in parts:
        if part is not None:
            total = part if total is None else total + part
    return total
