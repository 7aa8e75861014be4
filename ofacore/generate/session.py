"""Incremental decoding over a universal model: what generators are written against (`protocols.DecodeSession`)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ofacore.protocols import AdapterCall, Batch, BatchSide, HeadContext, Layout, Side

Coordinates = Callable[[str, tuple[int, ...]], np.ndarray]
"""(adapter, shape) -> int64 [length, 3]."""


class DecodingModel(Protocol):
    """What a session needs of a model."""

    backbone: Any

    heads: Any
    """Name -> head."""

    def embed(self, side: Side, call: AdapterCall) -> Tensor:
        """Embedded positions [n, H] of one adapter."""

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
    """

    def __init__(
        self, model: DecodingModel, coordinates: Coordinates, source: BatchSide | None, rows: int, *, task: str = "",
        unconditional: Session | None = None,
    ) -> None:  # fmt: skip
        self._model, self._coordinates = model, coordinates
        memory = None if source is None else model.hidden(Batch(source, None, (), ())).source
        layout: Layout | None = None if source is None else source.layout
        self._cache = model.backbone.start_cache(rows, memory, layout, tasks=(task,))
        self._next = torch.zeros_like(self._cache.lengths)
        self.pending: Tensor | None = None
        self.unconditional = unconditional

    @property
    def rows(self) -> int:
        """Number of rows R."""
        return int(self._cache.rows)

    @property
    def length(self) -> int:
        """Positions of the longest row."""
        return int(self._cache.longest)

    @property
    def device(self) -> torch.device:
        """Where token tensors belong."""
        return self._next.device

    def begin_segment(self) -> None:
        """What follows belongs to another slot, which position schemes may tell apart."""
        self._cache.begin_segment()
        if self.unconditional is not None:
            self.unconditional.begin_segment()

    def step(self, features: Mapping[str, Tensor], adapter: str, valid: Tensor | None = None) -> Tensor:
        """Append positions that later ones see; see `protocols.DecodeSession.step`."""
        total = len(next(iter(features.values())))
        n = total // self.rows
        states = self._embed(adapter, features, [(n,)] * self.rows).view(self.rows, n, -1)
        places = self._next[:, None] + torch.arange(n, device=self.device)
        counts = torch.full_like(self._next, n) if valid is None else valid.sum(1)
        hidden: Tensor = self._model.backbone.extend(
            states, places[..., None].expand(-1, -1, 3), self._cache, valid, adapter
        )
        self._next = self._next + counts
        if self.unconditional is not None:
            self.unconditional.step(features, adapter, valid)
        return hidden

    def denoise(self, features: Mapping[str, Tensor], adapter: str, shapes: Sequence[tuple[int, ...]]) -> Tensor:
        """Hidden states [sum of lengths, H] of one bidirectional segment a row, that leaves no trace."""
        return self._segment(features, adapter, shapes, keep=False)

    def commit(self, features: Mapping[str, Tensor], adapter: str, shapes: Sequence[tuple[int, ...]]) -> None:
        """Append one finished bidirectional segment a row, that later positions see."""
        self._segment(features, adapter, shapes, keep=True)
        if self.unconditional is not None:
            self.unconditional.commit(features, adapter, shapes)

    def _segment(
        self, features: Mapping[str, Tensor], adapter: str, shapes: Sequence[tuple[int, ...]], keep: bool
    ) -> Tensor:
        places = [torch.from_numpy(self._coordinates(adapter, shape)).to(self.device) for shape in shapes]
        lengths = torch.tensor([len(place) for place in places], device=self.device)
        valid = torch.arange(int(lengths.max()), device=self.device) < lengths[:, None]
        flat = self._embed(adapter, features, shapes)
        states = flat.new_zeros(*valid.shape, flat.shape[-1])
        states[valid] = flat
        coordinates = torch.zeros(*valid.shape, 3, dtype=torch.long, device=self.device)
        coordinates[valid] = torch.cat([place + start for place, start in zip(places, self._next, strict=True)])
        hidden: Tensor = self._model.backbone.extend(
            states, coordinates, self._cache, None if bool(valid.all()) else valid, adapter, causal=False, keep=keep
        )
        if keep:
            self._next = torch.maximum(self._next, coordinates.amax(dim=(1, 2)) + 1)
        return hidden[valid]

    def _embed(self, adapter: str, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        call = AdapterCall(adapter, dict(features), tuple(shapes), torch.empty(0, dtype=torch.long))
        return self._model.embed("target", call)

    def predict(self, head: str, hidden: Tensor, ctx: HeadContext) -> Any:
        """Apply a head of the model to hidden states [m, H]."""
        return self._model.heads[head](hidden, ctx)

    def reorder(self, rows: Tensor) -> None:
        """Keep rows by index int64 [R']."""
        self._cache.reorder(rows)
        self._next = self._next[rows]
        self.pending = None if self.pending is None else self.pending[rows]
        if self.unconditional is not None:
            self.unconditional.reorder(rows)

    def fork(self) -> Session:
        """An independent session in the same state."""
        twin = copy.copy(self)
        twin._cache = self._cache.copy()
        twin.unconditional = None if self.unconditional is None else self.unconditional.fork()
        return twin
