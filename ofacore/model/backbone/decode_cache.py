"""Keys and values of positions already decoded, and those of the source, shared by all rows that read it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ofacore.contract.batch import LayoutFacts, RowPlaces
from ofacore.model.backbone.attention_rows import runs_of
from ofacore.parallel.host_transfer import to_device
from ofacore.protocols import Layout, PositionView


@dataclass
class SourceCache:
    """Keys and values of every source, computed once."""

    keys: list[Tensor] = field(default_factory=list)
    """For each layer [S, h, K, d], a position scheme's features behind the content's."""
    values: list[Tensor] = field(default_factory=list)
    mask: Tensor | None = None
    """bool [S, K]: real positions; None: all."""
    empty: frozenset[int] | None = None
    """Sources without positions; None: the host does not know."""
    view: PositionView | None = None
    """[S, K]: where the sources' positions stand; None where no bias of cross-attention depends on it."""

    def seen_from(self, rows: Tensor) -> PositionView | None:
        """The view of the source that each of ``rows`` reads, int64 [R]."""
        if self.view is None:
            return None
        return PositionView(self.view.coordinates[rows], self.view.run[rows], self.view.kind[rows])


@dataclass
class Cache:
    """State of incremental decoding for R rows. Row r holds ``lengths[r]`` positions, left-aligned."""

    lengths: Tensor
    """int64 [R]."""
    source: Tensor
    """int64 [R]: the source that each row reads, -1 for none."""
    memory: SourceCache | None
    task: Tensor
    """int64 [R]: index into ``tasks``."""
    tasks: tuple[str, ...]
    keys: list[Tensor]
    """For each layer [R, h, capacity, d], a position scheme's features behind the content's."""
    values: list[Tensor]
    coordinates: Tensor
    """int64 [R, capacity, 3]."""
    segment: Tensor
    """int64 [R, capacity]."""
    kind: Tensor
    """int64 [R, capacity]: number of the adapter that made each position."""
    segments: int = 0
    uniform: bool = True
    """All rows hold equally many positions, and without gaps."""
    longest: int = 0
    """Positions of the longest row; on a device that nobody asks, at least as many."""
    known_source: tuple[int, ...] | None = None
    """What ``source`` holds, where the host knows."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.lengths)

    @property
    def length(self) -> int:
        """Positions of the longest row."""
        return self.longest

    @property
    def sources(self) -> int:
        """Number of sources."""
        return 0 if self.memory is None else len(self.memory.keys[0])

    @property
    def capacity(self) -> int:
        """Positions that fit without growing."""
        return int(self.segment.shape[1])

    def begin_segment(self) -> None:
        """What follows is a segment of its own, for relative positions."""
        self.segments += 1

    def grow(self, needed: int) -> None:
        """Make room for ``needed`` positions a row, doubling."""
        if needed <= self.capacity:
            return
        more = max(needed, 2 * self.capacity) - self.capacity
        self.keys = [_longer(part, 2, more) for part in self.keys]
        self.values = [_longer(part, 2, more) for part in self.values]
        self.coordinates, self.segment, self.kind = (
            _longer(part, 1, more) for part in (self.coordinates, self.segment, self.kind)
        )

    def reorder(self, rows: Tensor) -> None:
        """Keep rows by index int64 [R']; the sources themselves are shared and stay."""
        chosen = tuple(rows.tolist()) if rows.device.type == "cpu" else None
        if chosen == tuple(range(self.rows)):
            return
        known = self.known_source
        self.known_source = (
            None if chosen is None or known is None else tuple(known[row] for row in chosen)
        )
        rows = to_device(rows, self.lengths.device)
        used = self.longest
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            self.keys[layer] = _chosen(keys, rows, 2, used)
            self.values[layer] = _chosen(values, rows, 2, used)
        self.coordinates, self.segment, self.kind = (
            _chosen(part, rows, 1, used) for part in (self.coordinates, self.segment, self.kind)
        )
        self.lengths, self.source, self.task = (
            self.lengths[rows],
            self.source[rows],
            self.task[rows],
        )
        self._measure()

    def fork(self) -> Cache:
        """An independent cache in the same state; the sources are shared."""
        parts = {name: getattr(self, name).clone() for name in ("coordinates", "segment", "kind")}
        keys = [part.clone() for part in self.keys]
        values = [part.clone() for part in self.values]
        return replace(self, keys=keys, values=values, **parts)

    def advance(self, n: int, valid: Tensor | None = None) -> None:
        """Every row got n more positions, or as many as are ``valid``, bool [R, n]."""
        self.lengths = self.lengths + (n if valid is None else valid.sum(1))
        self.longest += n
        self.uniform = self.uniform and valid is None
        self._measure()

    def _measure(self) -> None:
        """Where asking costs nothing, ask how long rows really are."""
        if self.rows and self.lengths.device.type == "cpu":
            self.longest = int(self.lengths.max())
            self.uniform = bool((self.lengths == self.longest).all())

    def view(self, length: int, linear: Tensor) -> PositionView:
        """The first ``length`` positions of every row; ``linear`` bool [kinds]: adapters that have a line."""
        coordinates, segment, kind = (
            part[:, :length] for part in (self.coordinates, self.segment, self.kind)
        )
        return PositionView(coordinates, runs_of(coordinates, segment, kind, linear[kind]), kind)


def _longer(x: Tensor, dim: int, more: int) -> Tensor:
    shape = list(x.shape)
    shape[dim] = more
    return torch.cat([x, x.new_zeros(shape)], dim)


def _chosen(x: Tensor, rows: Tensor, dim: int, used: int) -> Tensor:
    """Rows of x, copying only the first ``used`` positions; in place where their number stays."""
    if len(rows) == len(x):
        part = x.narrow(dim, 0, used)
        part.copy_(part.index_select(0, rows))
        return x
    shape = list(x.shape)
    shape[0] = len(rows)
    chosen = x.new_zeros(shape)
    if used:
        chosen.narrow(dim, 0, used).copy_(x.narrow(dim, 0, used).index_select(0, rows))
    return chosen


def new_positions(cache: Cache, n: int, adapter: str, coordinates: Tensor) -> Layout:
    """The new positions of all rows as a stream, for routers."""
    sequence = torch.arange(cache.rows, device=cache.task.device).repeat_interleave(n)
    zeros, number = torch.zeros_like(sequence), cache.rows * n
    facts = LayoutFacts((), RowPlaces(None, None), (number,), (number,))
    known = facts if len(cache.tasks) == 1 else None
    return Layout(
        sequence=sequence,
        segment=zeros,
        coordinates=coordinates.reshape(-1, coordinates.shape[-1]),
        causal=zeros,
        visible=zeros,
        adapter=zeros,
        adapters=(adapter,),
        task=cache.task.repeat_interleave(n),
        tasks=cache.tasks,
        slots=(),
        rows=(),
        sequences=cache.rows,
        facts=known,
    )
