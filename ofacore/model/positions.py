"""Position schemes: how attention knows where positions stand."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from ofacore.model.bias import OwnRelative, Relative
from ofacore.model.presets import Sizes
from ofacore.model.rows import View
from ofacore.parallel.regions import own_share
from ofacore.parts.transfer import to_device
from ofacore.protocols import Options, PositionGrid

Stack = Literal["encoder", "decoder"]
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
    relative: bool = True
    """There are relative tables."""
    buckets: int = 256
    """Distances on a line that are told apart, in each direction."""
    adapters: tuple[str, ...] = ()
    """In the order that `View.kind` counts."""
    linear: frozenset[str] = frozenset()
    """Adapters whose positions lie on a line."""
    grids: Mapping[str, PositionGrid] = field(default_factory=dict)
    """Adapters that say where their cells stand."""
    own: Options = field(default_factory=dict)
    """Options of the scheme's component."""


class Scheme(Protocol):
    """A position scheme, an ``nn.Module``. Built as ``cls(options: PositionOptions)``.

    It works under every layout. Optional attributes make it cost less: with ``splits_heads = True`` its features
    and tables of biases are those of its tensor process's heads alone; ``readers(name)`` tells which layers use one
    of its parameters, as (side, layer or None for all of the side), so that other pipeline stages need not hold it.
    An attribute ``most`` is the number of positions in a run that its tables tell apart; generation ends there.
    """

    packs: ClassVar[bool]
    """Several sequences may share a row."""
    restarts: ClassVar[bool]
    """Coordinates count from 0 in every run and segment, not on through the sequence."""
    width: int
    """Features that `features` gives for each head."""

    def rotation(self, coordinates: Tensor) -> Tensor | None:
        """Coordinates [..., 3] -> complex64 [..., head size / 2], to multiply pairs of features with."""

    def states(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor | None:
        """Coordinates [n, 3], kinds [n] -> what is added to the embeddings, [n, H]."""

    def vectors(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor | None:
        """Coordinates [n, 3], kinds [n] -> position vectors [n, H] that `features` are made from."""

    def features(self, place: Place, role: Literal["query", "key"], vectors: Tensor | None) -> Tensor | None:
        """Vectors [..., H] -> [..., heads, width]; scores get the product of a query's and a key's features."""

    def relative(self, place: Place, queries: View, keys: View) -> Relative | None:
        """Biases by distance, within each run."""


class Rotary(nn.Module):
    """Rotates queries and keys by their coordinates (Su et al. 2021), on three axes at once.

    Pair j of a head's features belongs to axis j mod 3, so that each axis (t, y, x) has a band of slow and fast
    pairs. Text uses equal coordinates on all axes, which makes this the usual rotation. No tables, no bias;
    cross-attention is not rotated.
    """

    packs: ClassVar[bool] = True
    restarts: ClassVar[bool] = False
    splits_heads: ClassVar[bool] = True
    width = 0

    def __init__(self, options: PositionOptions, base: float = 10_000.0) -> None:
        super().__init__()
        pair = torch.arange(options.sizes.head_size // 2)
        each_axis = math.ceil(len(pair) / 3)
        self.axis = pair % 3
        self.frequency = base ** (-(pair // 3).double() / each_axis)

    def rotation(self, coordinates: Tensor) -> Tensor | None:
        """Coordinates [..., 3] -> complex64 [..., head size / 2], to multiply pairs of features with."""
        if self.axis.device != coordinates.device:
            self.axis = to_device(self.axis, coordinates.device)
            self.frequency = to_device(self.frequency, coordinates.device)
        axis, frequency = self.axis, self.frequency
        angle = coordinates.index_select(-1, axis).double() * frequency
        return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)

    def states(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor | None:
        """Nothing is added."""
        return None

    def vectors(self, stack: Stack, coordinates: Tensor, kind: Tensor) -> Tensor | None:
        """No vectors."""
        return None

    def features(self, place: Place, role: Literal["query", "key"], vectors: Tensor | None) -> Tensor | None:
        """No features."""
        return None

    def relative(self, place: Place, queries: View, keys: View) -> Relative | None:
        """No bias."""
        return None


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """x [..., heads, head size], rotation complex [..., head size / 2]; computed in fp32."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotation.unsqueeze(-2)).flatten(-2).type_as(x)


class OwnHeads:
    """A scheme whose features and biases are for all heads, cut down to those of this process."""

    def __init__(self, scheme: Scheme) -> None:
        self.scheme = scheme

    def features(self, place: Place, role: Literal["query", "key"], vectors: Tensor | None) -> Tensor | None:
        """Features of own heads."""
        found = self.scheme.features(place, role, vectors)
        return None if found is None else own_share(found, -2)

    def relative(self, place: Place, queries: View, keys: View) -> Relative | None:
        """Biases of own heads."""
        found = self.scheme.relative(place, queries, keys)
        return None if found is None else OwnRelative(found.indices, found.tables)
