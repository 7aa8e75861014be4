"""Incremental decoding over a universal model: what generators are written against (`protocols.DecodeSession`)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ofacore.batching.transfer import batch_on
from ofacore.decoding.placement import Placement
from ofacore.model.backbone.uncached import UncachedDecoder
from ofacore.parallel.host_transfer import to_device
from ofacore.protocols import (
    BOS,
    AdapterCall,
    Batch,
    BatchSide,
    CachedBackbone,
    HeadContext,
    Layout,
    Side,
)

Coordinates = Callable[[str, tuple[int, ...]], np.ndarray]
"""(adapter, shape) -> int64 [length, 3]."""


class DecodingModel(Protocol):
    """What a session needs of a model."""

    backbone: Any

    heads: Any
    """Name -> head."""

    def embed(self, side: Side, call: AdapterCall, coordinates: Tensor) -> Tensor:
        """Embedded positions [n, H] of one adapter at coordinates [n, 3]."""

    def hidden(self, batch: Batch) -> Any:
        """Hidden states, with ``source`` [N, H]."""


class Session:
    """Decoding state of R rows; row r of a fresh session reads source sequence r.

    Args:
        model: The model, in evaluation mode.
        coordinates: Geometry of every adapter.
        source: Source side of a batch whose sequence r belongs to row r; None for decoder-only rows.
        rows: Number of rows.
        task: Name of the task, for experts by task; must be one the model knows, or empty.
        unconditional: A session over the same rows with the prompt dropped.
        start_ids: Tokens that the decoder reads before the first token of a run.
    """

    def __init__(
        self,
        model: DecodingModel,
        coordinates: Coordinates,
        source: BatchSide | None,
        rows: int,
        *,
        task: str = "",
        unconditional: Session | None = None,
        start_ids: tuple[int, ...] = (BOS,),
    ) -> None:
        self._model, self._coordinates = model, coordinates
        if source is not None and getattr(model, "device", None) is not None:
            source = batch_on(Batch(source, None, (), ()), model.device).source  # type: ignore[attr-defined]
        self._task = task
        memory = None if source is None else model.hidden(Batch(source, None, (), ())).source
        layout: Layout | None = None if source is None else source.layout
        self._source = None if memory is None or layout is None else (memory, layout)
        own = isinstance(model.backbone, CachedBackbone)
        self._decoder: CachedBackbone = model.backbone if own else UncachedDecoder(model.backbone)
        self._tell_task()
        self._cache = self._decoder.start_cache(rows, memory, layout, tasks=(task,))
        self._next = torch.zeros(rows, dtype=torch.int64, device=_device_of(model, memory))
        self._reads = torch.arange(rows)
        self._restarts, self._begins = bool(getattr(model, "restarts", False)), True
        self._pending: Tensor | None = None
        self._placement: Placement | None = None
        self.unconditional, self.start_ids = unconditional, start_ids
        self.end_ids = _further_ends(model)

    def _tell_task(self) -> None:
        """Other sessions may have decoded for other tasks in between."""
        tell = getattr(self._model, "for_task", None)
        if tell is not None:
            tell(self._task)

    @property
    def pending(self) -> Tensor | None:
        """See `protocols.DecodeSession.pending`; None where a run begins."""
        return self._pending

    @pending.setter
    def pending(self, tokens: Tensor | None) -> None:
        self._pending = tokens
        if tokens is None:
            self._end_run()

    def _end_run(self) -> None:
        self._begins = True
        if self.unconditional is not None:
            self.unconditional._end_run()

    @property
    def rows(self) -> int:
        """Number of rows R."""
        return int(self._cache.rows)

    @property
    def length(self) -> int:
        """Positions of the longest row."""
        return int(self._cache.length)

    @property
    def room(self) -> int | None:
        """Tokens that may follow before the position scheme tells places no more apart; None: any number.

        What the next step feeds first, the pending token or what a run begins with, is taken off.
        """
        most = getattr(self._model.backbone, "most", None)
        if most is None:
            return None
        first = len(self.start_ids) if self._pending is None else 1
        fresh = self._begins and self._restarts
        return int(most) - first - (0 if fresh else int(self._next.max()))

    @property
    def device(self) -> torch.device:
        """Where token tensors belong."""
        return self._next.device

    def begin_segment(self) -> None:
        """What follows belongs to another slot, which position schemes may tell apart."""
        self._cache.begin_segment()
        self._placement = None
        if self.unconditional is not None:
            self.unconditional.begin_segment()

    def place(self, coordinates: Sequence[np.ndarray | None]) -> None:
        """Where the positions that follow stand; see `protocols.DecodeSession.place`."""
        before = len(self.start_ids) - 1 if self._pending is None else 0
        self._place(coordinates, before)

    def _place(self, coordinates: Sequence[np.ndarray | None], before: int) -> None:
        self._placement = Placement.of(coordinates, before, self.device)
        if self.unconditional is not None:
            self.unconditional._place(coordinates, before)

    def step(
        self, features: Mapping[str, Tensor], adapter: str, valid: Tensor | None = None
    ) -> Tensor:
        """Append positions that later ones see; see `protocols.DecodeSession.step`."""
        total = len(next(iter(features.values())))
        n = total // self.rows
        if self._begins and self._restarts:
            self._next = torch.zeros_like(self._next)
        self._begins = False
        places = self._places(n)
        states = self._embed(adapter, features, [(n,)] * self.rows, places.flatten(0, 1)).view(
            self.rows, n, -1
        )
        counts = torch.full_like(self._next, n) if valid is None else valid.sum(1)
        self._tell_task()
        hidden = self._decoder.extend(states, places, self._cache, valid, adapter)
        if self._placement is None:
            self._next = self._next + counts
        else:
            self._next = self._placement.advance(places, counts, self._next)
        if self.unconditional is not None:
            self.unconditional.step(features, adapter, valid)
        return hidden

    def _places(self, n: int) -> Tensor:
        """Coordinates int64 [R, n, 3] of the next n positions."""
        if self._placement is not None:
            return self._placement.next(n, self._next)
        return (self._next[:, None] + torch.arange(n, device=self.device))[..., None].expand(
            -1, -1, 3
        )

    def denoise(
        self, features: Mapping[str, Tensor], adapter: str, shapes: Sequence[tuple[int, ...]]
    ) -> Tensor:
        """Hidden states [sum of lengths, H] of one bidirectional segment a row, that leaves no trace."""
        return self._segment(features, adapter, shapes, keep=False)

    def commit(
        self, features: Mapping[str, Tensor], adapter: str, shapes: Sequence[tuple[int, ...]]
    ) -> None:
        """Append one finished bidirectional segment a row, that later positions see."""
        self._segment(features, adapter, shapes, keep=True)
        if self.unconditional is not None:
            self.unconditional.commit(features, adapter, shapes)

    def _segment(
        self,
        features: Mapping[str, Tensor],
        adapter: str,
        shapes: Sequence[tuple[int, ...]],
        keep: bool,
    ) -> Tensor:
        if self._placement is None:
            places = [self._coordinates(adapter, shape) for shape in shapes]
        else:
            places = self._placement.whole([self._coordinates(adapter, shape) for shape in shapes])
        lengths = np.array([len(place) for place in places])
        held = np.arange(lengths.max()) < lengths[:, None]
        slot, row = (
            to_device(torch.from_numpy(x), self.device)
            for x in (np.flatnonzero(held), held.nonzero()[0])
        )
        starts = torch.zeros_like(self._next) if self._restarts else self._next
        where = (
            to_device(torch.from_numpy(np.concatenate(places)), self.device) + starts[row][:, None]
        )
        coordinates = (
            where.new_zeros(held.size, 3).index_copy_(0, slot, where).unflatten(0, held.shape)
        )
        flat = self._embed(adapter, features, shapes, where)
        states = (
            flat.new_zeros(held.size, flat.shape[-1])
            .index_copy_(0, slot, flat)
            .unflatten(0, held.shape)
        )
        valid = None if held.all() else to_device(torch.from_numpy(held), self.device)
        self._tell_task()
        hidden = self._decoder.extend(
            states, coordinates, self._cache, valid, adapter, causal=False, keep=keep
        )
        if keep:
            self._begins, self._placement = True, None
            self._next = torch.maximum(self._next, coordinates.amax(dim=(1, 2)) + 1)
        return hidden.flatten(0, 1).index_select(0, slot)

    def _embed(
        self,
        adapter: str,
        features: Mapping[str, Tensor],
        shapes: Sequence[tuple[int, ...]],
        coordinates: Tensor,
    ) -> Tensor:
        call = AdapterCall(adapter, dict(features), tuple(shapes), torch.empty(0, dtype=torch.long))
        return self._model.embed("target", call, coordinates)

    def source(self, slot: str = "") -> tuple[Tensor, tuple[int, ...]]:
        """See `protocols.DecodeSession.source`."""
        if self._source is None:
            raise ValueError("these rows have no source")
        memory, layout = self._source
        chosen = _in_slot(layout, slot) if slot else _in_first_segment(layout)
        sizes = torch.bincount(layout.sequence[chosen], minlength=layout.sequences).tolist()
        if not all(sizes):
            raise ValueError(f"row {sizes.index(0)} has no value of '{slot}' in its source")
        parts = memory[chosen].split(sizes)
        read = [parts[row] for row in self._reads.tolist()]
        return torch.cat(read), tuple(len(part) for part in read)

    def predict(self, head: str, hidden: Tensor, ctx: HeadContext) -> Any:
        """Apply a head of the model to hidden states [m, H]."""
        return self._model.heads[head](hidden, ctx)

    def reorder(self, rows: Tensor) -> None:
        """Keep rows by index int64 [R']; one on the CPU tells the host, too, who stays."""
        host = rows
        self._cache.reorder(rows)
        self._reads = self._reads.to(rows.device)[rows]
        rows = to_device(rows, self.device)
        self._next = self._next[rows]
        self._pending = None if self._pending is None else self._pending[rows]
        self._placement = None if self._placement is None else self._placement.reordered(rows)
        if self.unconditional is not None:
            self.unconditional.reorder(host)

    def fork(self) -> Session:
        """An independent session in the same state."""
        twin = copy.copy(self)
        twin._cache = self._cache.fork()
        twin._placement = copy.copy(self._placement)
        twin.unconditional = None if self.unconditional is None else self.unconditional.fork()
        return twin


def _in_first_segment(layout: Layout) -> Tensor:
    """bool [N]: the position belongs to the first segment of its sequence."""
    sequence = layout.sequence.contiguous()
    numbers = torch.arange(layout.sequences, device=sequence.device)
    starts = torch.searchsorted(sequence, numbers)
    return layout.segment == layout.segment[starts][layout.sequence]


def _in_slot(layout: Layout, slot: str) -> Tensor:
    """bool [N]: the position belongs to a value of the slot."""
    named = [name.rpartition("/")[2] == slot for name in layout.slots]
    return torch.tensor(named, device=layout.segment.device)[layout.segment]


def _device_of(model: DecodingModel, memory: Tensor | None) -> torch.device:
    """Where a model computes."""
    known: torch.device | None = getattr(model, "device", None)
    if known is not None:
        return known
    return torch.device("cpu") if memory is None else memory.device


def _further_ends(model: Any) -> tuple[int, ...]:
    """Tokens that end a text as ``<eos>`` does, of a backbone that knows some; see `ofacore.protocols.TokenRows`."""
    known = getattr(model.backbone, "end_tokens", None)
    return () if known is None else tuple(known(model.vocabulary))
