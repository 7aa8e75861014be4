"""Decoding with a cache: new positions behind those that were decoded before."""

from __future__ import annotations

import torch
from torch import Tensor

from ofacore.model.backbone.attention import joined
from ofacore.model.backbone.decode_cache import Cache, SourceCache, new_positions
from ofacore.model.backbone.incremental import (
    DecodeStep,
    beams_of,
    blind_rows,
    layer_step,
    new_mask,
)
from ofacore.model.backbone.stacks import Stacks
from ofacore.parallel import fsdp
from ofacore.parallel.host_transfer import numbers_on
from ofacore.parallel.process_groups import tensor_size
from ofacore.parallel.split_layers import whole_positions
from ofacore.protocols import Layout, PositionView


class CachedDecoder(Stacks):
    """The decoder a few positions at a time; see `ofacore.protocols.CachedBackbone`."""

    def start_cache(
        self,
        rows: int,
        memory: Tensor | None = None,
        source: Layout | None = None,
        *,
        row_source: Tensor | None = None,
        task: Tensor | None = None,
        tasks: tuple[str, ...] = (),
        capacity: int = 64,
    ) -> Cache:
        """An empty cache for ``rows`` rows.

        Args:
            rows: Number of rows R.
            memory: Encoder output [N, H] of every source; None: nothing to read.
            source: Its layout; source s is its sequence s.
            row_source: int64 [R], the source that each row reads, -1 for none; default: row r reads source r.
            task: int64 [R], index into ``tasks``; needed for experts by task.
            tasks: Names.
            capacity: Positions to make room for; it grows on demand.
        """
        first = next(self.parameters())
        device = first.device
        shape = (rows, self.sizes.heads // tensor_size(), capacity, self.sizes.head_size)
        wide = (*shape[:-1], self.sizes.head_size + self.positions.width)
        layers = range(self.sizes.decoder_layers)
        cached = None
        if memory is not None and source is not None and len(memory):
            cached = self._source_cache(memory, source)
        known = None
        if row_source is None:
            known = tuple(range(rows)) if cached else (-1,) * rows
            row_source = torch.tensor(known, dtype=torch.int64, device=device)
        if task is None:
            task = torch.zeros(rows, dtype=torch.int64, device=device)
        return Cache(
            lengths=torch.zeros(rows, dtype=torch.int64, device=device),
            source=row_source,
            memory=cached,
            known_source=known,
            task=task,
            tasks=tasks,
            keys=[torch.zeros(wide, dtype=first.dtype, device=device) for _ in layers],
            values=[torch.zeros(shape, dtype=first.dtype, device=device) for _ in layers],
            coordinates=torch.zeros(rows, capacity, 3, dtype=torch.int64, device=device),
            segment=torch.zeros(rows, capacity, dtype=torch.int64, device=device),
            kind=torch.zeros(rows, capacity, dtype=torch.int64, device=device),
        )

    def _source_cache(self, memory: Tensor, source: Layout) -> SourceCache:
        counts = torch.bincount(source.sequence, minlength=source.sequences)
        lengths = counts.tolist()
        longest = max(lengths)
        number = torch.arange(longest, device=memory.device)
        mask = number < counts[:, None]
        starts = counts.cumsum(0) - counts
        index = torch.where(mask, starts[:, None] + number, 0)
        stream = self._stream(source)
        vectors = self.positions.vectors("encoder", source.coordinates, stream.kind)
        features = self.positions.features("cross", "key", vectors)
        empty = frozenset(number for number, length in enumerate(lengths) if not length)
        view = PositionView(source.coordinates[index], stream.run[index], stream.kind[index])
        biased = self.scheme.relative("cross", view, view) is not None
        source_mask = None if min(lengths) == longest else mask
        source_view = view if biased else None
        cache = SourceCache(
            mask=source_mask,
            empty=empty,
            view=source_view,
        )
        for layer in self.decoder:
            with fsdp.gathered([layer]):
                keys, values = layer.cross.project_memory(memory)
            keys = joined(keys, features)
            cache.keys.append(keys[index].transpose(1, 2).contiguous())
            cache.values.append(values[index].transpose(1, 2).contiguous())
        return cache

    def extend(
        self,
        states: Tensor,
        coordinates: Tensor,
        cache: Cache,
        valid: Tensor | None = None,
        adapter: str = "",
        causal: bool = True,
        keep: bool = True,
    ) -> Tensor:
        """Decode new positions behind those of the cache.

        Args:
            states: Embedded positions [R, n, H].
            coordinates: int64 [R, n, 3].
            cache: What came before; updated in place.
            valid: bool [R, n], left-aligned: real positions; others leave no trace. None: all.
            adapter: What made the positions.
            causal: New positions see earlier ones only; otherwise all of the new segment.
            keep: Later positions see the new ones; otherwise they leave no trace.

        Returns:
            Hidden states [R, n, H].
        """
        rows, n = states.shape[:2]
        mask, slot = new_mask(cache, valid, n, causal)
        total = cache.longest + n
        cache.grow(total)
        if not causal:
            cache.segments += 1
        self._note(cache, coordinates, self._kind(adapter, coordinates), slot, total)
        x = self._cached(states, self._step(states, cache, coordinates, mask, slot, total, adapter))
        if keep:
            cache.advance(n, valid)
        if not causal:
            cache.segments += 1
        return x

    def _note(
        self, cache: Cache, coordinates: Tensor, kind: Tensor, slot: Tensor | None, total: int
    ) -> None:
        """Write coordinates, segments and kinds of new positions where their keys go."""
        for stored, values in (
            (cache.coordinates, coordinates),
            (cache.segment, torch.full_like(kind, cache.segments)),
            (cache.kind, kind),
        ):
            if slot is None:
                stored[:, cache.longest : total] = values
            else:
                where = slot if stored.dim() == 2 else slot.unsqueeze(-1).expand(-1, -1, 3)
                stored.scatter_(1, where, values)

    def _step(
        self,
        states: Tensor,
        cache: Cache,
        coordinates: Tensor,
        mask: Tensor | None,
        slot: Tensor | None,
        total: int,
        adapter: str,
    ) -> DecodeStep:
        scheme, n = self.scheme, states.shape[1]
        linear = [name in self.context.linear for name in self.context.adapters] or [False]
        keys = cache.view(total, numbers_on(linear, states.device))
        where = (
            torch.arange(total - n, total, device=states.device).expand(len(states), -1)
            if slot is None
            else slot
        )
        kind = self._kind(adapter, coordinates)
        queries = PositionView(coordinates, keys.run.gather(1, where), kind)
        flat = coordinates.flatten(0, 1)
        vectors = self.positions.vectors("decoder", flat, self._kind(adapter, flat))
        vectors = None if vectors is None else vectors.unflatten(0, (-1, n))
        seen = None if cache.memory is None else cache.memory.seen_from(cache.source.clamp(min=0))
        cross = None if seen is None else scheme.relative("cross", queries, seen)
        beams = (
            0 if cross is not None else beams_of(cache.source, cache.sources, cache.known_source)
        )
        return DecodeStep(
            cache,
            scheme.relative("decoder", queries, keys),
            scheme.features("decoder", "query", vectors),
            scheme.features("decoder", "key", vectors),
            scheme.features("cross", "query", vectors),
            total,
            mask,
            slot,
            self.positions.rotation(coordinates),
            self._routing(new_positions(cache, n, adapter, coordinates)),
            beams,
            blind_rows(cache),
            cross,
        )

    def _cached(self, x: Tensor, step: DecodeStep) -> Tensor:
        with whole_positions(self.decoder), fsdp.gathered(list(self.decoder)):
            for layer in self.decoder:
                x = layer_step(layer, x, step)
        return self.decoder_norm(x)  # type: ignore[no-any-return]
