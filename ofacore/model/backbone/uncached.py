"""Decoding with a backbone that has no cache: every step runs all that came before again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ofacore.model.backbone.sequences import pad_sequences
from ofacore.parallel.host_transfer import to_device
from ofacore.protocols import Backbone, Layout

_HELD = ("states", "coordinates", "segment", "kind", "causal")


@dataclass
class Prefix:
    """What R rows hold so far, left-aligned; see `ofacore.protocols.DecodeCache`. No tensor is changed in place."""

    lengths: Tensor
    """int64 [R]."""
    reads: Tensor
    """int64 [R]: the source that each row reads, -1 for none."""
    memory: Tensor | None
    """Encoder output [N, H]."""
    source: Layout | None
    """Its layout."""
    tasks: tuple[str, ...]
    states: Tensor
    """[R, L, H]."""
    coordinates: Tensor
    """int64 [R, L, 3]."""
    segment: Tensor
    """int64 [R, L]: number of the segment within its row."""
    kind: Tensor
    """int64 [R, L]: index into ``adapters``."""
    causal: Tensor
    """bool [R, L]."""
    adapters: tuple[str, ...] = ()
    segments: int = 0

    @property
    def rows(self) -> int:
        """Number of rows R."""
        return len(self.lengths)

    @property
    def length(self) -> int:
        """Positions of the longest row."""
        return int(self.states.shape[1])

    @property
    def real(self) -> Tensor:
        """bool [R, L]: there is a position."""
        return torch.arange(self.length, device=self.lengths.device) < self.lengths[:, None]

    def begin_segment(self) -> None:
        """What follows belongs to a segment of its own."""
        self.segments += 1

    def reorder(self, rows: Tensor) -> None:
        """Keep rows by index int64 [R']; an index may occur several times or not at all."""
        rows = to_device(rows, self.lengths.device)
        self.lengths, self.reads = self.lengths[rows], self.reads[rows]
        longest = int(self.lengths.max()) if len(rows) else 0
        for name in _HELD:
            setattr(self, name, getattr(self, name)[rows, :longest])

    def fork(self) -> Prefix:
        """An independent prefix in the same state."""
        return replace(self)

    def extended(
        self, states: Tensor, coordinates: Tensor, valid: Tensor, adapter: str, causal: bool
    ) -> Prefix:
        """The same with new positions [R, n] behind, those that are ``valid``."""
        adapters = self.adapters if adapter in self.adapters else (*self.adapters, adapter)
        kind = torch.full_like(valid, adapters.index(adapter), dtype=torch.int64)
        new = {
            "states": states,
            "coordinates": coordinates,
            "segment": torch.full_like(kind, self.segments),
            "kind": kind,
            "causal": torch.full_like(valid, causal),
        }
        lengths = self.lengths + valid.sum(1)
        longest = int(lengths.max()) if len(lengths) else 0
        row, place = valid.nonzero(as_tuple=True)
        slot = self.lengths[row] + place
        held = {}
        for name, added in new.items():
            before = getattr(self, name).to(added.dtype)
            whole = added.new_zeros(len(lengths), longest, *added.shape[2:])
            if before.shape[1]:
                whole[:, : before.shape[1]] = before
            whole[row, slot] = added[row, place]
            held[name] = whole
        return replace(self, lengths=lengths, adapters=adapters, **held)

    def layout(self, visible: Tensor) -> Layout:
        """All positions as a target, one row for each sequence; ``visible``, bool [R, L]: later segments see them."""
        real, device = self.real, self.lengths.device
        number = torch.arange(self.rows, device=device)
        sequence = number[:, None].expand_as(real)[real]
        segments, segment = torch.unique(
            sequence * (self.segments + 1) + self.segment[real], return_inverse=True
        )
        places = torch.full(real.shape, -1, dtype=torch.int64, device=device)
        places[real] = torch.arange(len(sequence), device=device)
        return Layout(
            sequence=sequence,
            segment=segment,
            coordinates=self.coordinates[real],
            causal=self.causal[real],
            visible=visible[real],
            adapter=self.kind[real],
            adapters=self.adapters,
            task=torch.zeros_like(sequence),
            tasks=self.tasks,
            slots=("",) * len(segments),
            rows=(places,),
            sequences=self.rows,
            memory=self.reads,
            memory_rows=(self._memory_rows(),),
        )

    def _memory_rows(self) -> Tensor:
        if self.source is None:
            return torch.empty(self.rows, 0, dtype=torch.int64, device=self.lengths.device)
        padded = pad_sequences(self.source)
        reads = self.reads.clamp(min=0)
        real = padded.real[reads] & (self.reads >= 0)[:, None]
        return torch.where(real, padded.index[reads], -1)


class UncachedDecoder:
    """A `CachedBackbone` around any `Backbone`: exact, and slow, as a step costs a pass over the whole prefix.

    Args:
        backbone: Anything with `Backbone.decode`.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def start_cache(
        self,
        rows: int,
        memory: Tensor | None = None,
        source: Layout | None = None,
        *,
        tasks: tuple[str, ...] = (),
    ) -> Prefix:
        """See `ofacore.protocols.CachedBackbone.start_cache`."""
        nothing = memory is None or source is None or not len(memory)
        like = _like(self.backbone) if memory is None else memory
        number = torch.arange(rows, device=like.device)
        none = torch.empty(rows, 0, dtype=torch.int64, device=like.device)
        own_number = torch.full_like(number, -1) if nothing else number
        own_memory = None if nothing else memory
        own_source = None if nothing else source
        return Prefix(
            lengths=torch.zeros_like(number),
            reads=own_number,
            memory=own_memory,
            source=own_source,
            tasks=tasks or ("",),
            states=like.new_empty(rows, 0, 0),
            coordinates=none[..., None].expand(-1, -1, 3),
            segment=none,
            kind=none,
            causal=none.bool(),
        )

    def extend(
        self,
        states: Tensor,
        coordinates: Tensor,
        cache: Prefix,
        valid: Tensor | None = None,
        adapter: str = "",
        causal: bool = True,
        keep: bool = True,
    ) -> Tensor:
        """See `ofacore.protocols.CachedBackbone.extend`; what is not ``valid`` gives zeros."""
        if valid is None:
            valid = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        if not causal:
            cache.segments += 1
        whole = cache.extended(states, coordinates, valid, adapter, causal)
        old = torch.arange(whole.length, device=valid.device) < cache.lengths[:, None]
        visible = old | keep
        real = whole.real
        hidden = self.backbone.decode(
            whole.states[real], whole.layout(visible), whole.memory, whole.source
        )
        found = hidden.new_zeros(*valid.shape, hidden.shape[-1])
        found[valid] = hidden[~old[real]]
        if keep:
            for name in ("lengths", "adapters", *_HELD):
                setattr(cache, name, getattr(whole, name))
        if not causal:
            cache.segments += 1
        return found


def _like(backbone: object) -> Tensor:
    """A tensor of a backbone's type, on its device."""
    parameters = getattr(backbone, "parameters", None)
    first = None if parameters is None else next(iter(parameters()), None)
    return torch.empty(0) if first is None else first.detach()
