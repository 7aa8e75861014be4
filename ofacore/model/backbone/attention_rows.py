"""Which position attends to which: attention groups of one forward pass, computed once and shared by all layers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ofacore.contract.batch import RowPlaces
from ofacore.model.backbone.position_kinds import note_kinds
from ofacore.parallel.host_transfer import numbers_on
from ofacore.protocols import Layout, PositionView


@dataclass
class Group:
    """Attention of R rows: L queries each, K keys each."""

    queries: PositionView
    keys: PositionView
    mask: Tensor | None
    """bool [R, L, K]: query sees key; None: every query sees every key."""
    blind: Tensor | None
    """bool [R, L, 1]: the query sees no key at all; None: there is no such query."""
    additive: Tensor | None = None
    """The mask as numbers to add to scores, [R, 1, L, K] in the dtype of the states."""


@dataclass
class Slots:
    """Where a stream's positions stand in the rows of its groups, all groups one behind the other."""

    shapes: tuple[tuple[int, int], ...]
    """(R, L) of each group."""
    index: Tensor | None
    """int64 [slots]: position of each slot, 0 where empty; None: slots are the stream itself."""
    inverse: Tensor | None
    """int64 [N]: slot of each position; None where a position may stand in several slots."""
    positions: int
    """N."""

    def take(self, x: Tensor) -> list[Tensor]:
        """Stream [N, ...] -> one [R, L, ...] for each group."""
        if self.index is not None:
            x = (
                _ToSlots.apply(x, self.index, self.inverse)
                if self.inverse is not None
                else x.index_select(0, self.index)
            )
        sizes = [rows * length for rows, length in self.shapes]
        parts = x.split(sizes) if len(sizes) > 1 else (x,)
        return [part.unflatten(0, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def put(self, parts: list[Tensor]) -> Tensor:
        """One [R, L, H] for each group -> stream [N, H]."""
        flat = [part.flatten(0, 1) for part in parts]
        x = flat[0] if len(flat) == 1 else torch.cat(flat)
        return x if self.index is None else _FromSlots.apply(x, self.index, self.inverse)


class _ToSlots(torch.autograd.Function):
    """Each position stands in exactly one slot, so that the gradient is a gather, too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return grad.index_select(0, ctx.saved_tensors[0]), None, None


class _FromSlots(torch.autograd.Function):
    """The way back; empty slots get no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        ctx.slots = len(index)
        return x.index_select(0, inverse)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        slots = grad.new_zeros(ctx.slots, *grad.shape[1:])
        return slots.index_copy_(0, ctx.saved_tensors[0], grad), None, None


def permute(x: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
    """``x[index]`` for a permutation, with a gather by ``inverse``, the way back, as its gradient."""
    return _ToSlots.apply(x, index, inverse)  # type: ignore[no-any-return]


def is_range(index: Tensor) -> bool:
    """Whether an index is 0, 1, 2, ...; the host waits for the device to know."""
    return torch.equal(index, torch.arange(len(index), device=index.device))


def places_of(rows: tuple[Tensor, ...], positions: int, once: bool = True) -> RowPlaces:
    """Where the positions of a stream stand in index matrices; ``once``: every one occurs exactly once."""
    flat = torch.cat([group.flatten() for group in rows])
    if len(flat) == positions and is_range(flat):
        return RowPlaces(None, None)
    inverse = None
    if once:
        real = torch.nonzero(flat >= 0).squeeze(1)
        inverse = flat.new_empty(positions)
        inverse[flat[real]] = real
    return RowPlaces(flat.clamp(min=0), inverse)


def slots_of(
    rows: tuple[Tensor, ...], positions: int, once: bool = True, places: RowPlaces | None = None
) -> Slots:
    """Slots of index matrices ``rows``; ``places``: those of `places_of`, where they are known."""
    shapes = tuple((int(group.shape[0]), int(group.shape[1])) for group in rows)
    found = places or places_of(rows, positions, once)
    return Slots(shapes, found.index, found.inverse, positions)


@dataclass
class Stream:
    """What position schemes know of all positions of one side."""

    kind: Tensor
    """int64 [N]: number of each position's adapter."""
    run: Tensor
    """int64 [N]."""


def stream_of(layout: Layout, adapters: Sequence[str], linear: Collection[str]) -> Stream:
    """Kinds and runs of a layout's positions. Adapters are numbered by ``adapters``, unknown ones -1."""
    device = layout.adapter.device
    numbers = [adapters.index(name) if name in adapters else -1 for name in layout.adapters]
    kind = numbers_on(numbers or [-1], device)[layout.adapter]
    if layout.facts is not None:
        note_kinds(kind, numbers, layout.facts.adapters)
    line = numbers_on([name in linear for name in layout.adapters] or [False], device)[
        layout.adapter
    ]
    return Stream(kind, runs_of(layout.coordinates, layout.segment, kind, line, layout.sequence))


def runs_of(
    coordinates: Tensor, segment: Tensor, kind: Tensor, line: Tensor, sequence: Tensor | None = None
) -> Tensor:
    """Number of each position's run, int64 [..., n], counted along the last dimension.

    On a line a run goes on as long as coordinates of one adapter do; elsewhere each segment is one.
    """
    step = coordinates[..., 1:, 0] - coordinates[..., :-1, 0]
    inside = torch.where(line[..., 1:], step == 1, segment[..., 1:] == segment[..., :-1])
    begins = ~inside | (kind[..., 1:] != kind[..., :-1])
    if sequence is not None:
        begins |= sequence[1:] != sequence[:-1]
    return functional.pad(begins.long(), (1, 0)).cumsum(-1)


def _view(layout: Layout, rows: Tensor, stream: Stream) -> PositionView:
    index = rows.clamp(min=0)
    view = PositionView(layout.coordinates[index], stream.run[index], stream.kind[index])
    if hasattr(stream.kind, "known_kinds"):
        view.kind.known_kinds = stream.kind.known_kinds  # type: ignore[attr-defined]
    return view


def self_groups(layout: Layout, stream: Stream, source: bool) -> list[Group]:
    """Self-attention of one side. Empty slots see themselves, which no other position can see."""
    groups = []
    known = layout.facts.full if layout.facts is not None else [None] * len(layout.rows)
    for rows, full in zip(layout.rows, known, strict=True):
        if full:
            view = _view(layout, rows, stream)
            groups.append(Group(view, view, None, None))
            continue
        index = rows.clamp(min=0)
        sequence, segment = layout.sequence[index], layout.segment[index]
        own = segment[:, :, None] == segment[:, None, :]
        past = index[:, None, :] <= index[:, :, None]
        within = own & (past | ~layout.causal[index][:, :, None])
        across = ~own if source else ~own & past & layout.visible[index][:, None, :]
        mask = (sequence[:, :, None] == sequence[:, None, :]) & (within | across)
        empty = rows < 0
        mask &= ~(empty[:, :, None] | empty[:, None, :])
        mask |= torch.diag_embed(empty)
        view = _view(layout, rows, stream)
        full = bool(mask.all()) if full is None else full
        mask_of_rows = None if full else mask
        groups.append(Group(view, view, mask_of_rows, None))
    return groups


def cross_groups(
    layout: Layout, stream: Stream, source: Layout, source_stream: Stream
) -> list[Group]:
    """Attention of the target's rows to the source positions that their sequences read."""
    assert layout.memory is not None
    groups = []
    number, facts = len(layout.rows), layout.facts
    known_full = facts.memory_full if facts is not None else [None] * number
    known_blind = facts.memory_blind if facts is not None else [None] * number
    for rows, keys, full, has_blind in zip(
        layout.rows, layout.memory_rows, known_full, known_blind, strict=True
    ):
        index, memory = rows.clamp(min=0), keys.clamp(min=0)
        reads = layout.memory[layout.sequence[index]]
        holds = source.sequence[memory] if source.positions else memory
        mask = (
            (reads[:, :, None] == holds[:, None, :])
            & (rows >= 0)[:, :, None]
            & (keys >= 0)[:, None, :]
        )
        blind = ~mask.any(2, keepdim=True)
        mask |= blind
        full = bool(mask.all()) if full is None else full
        has_blind = bool(blind.any()) if has_blind is None else has_blind
        mask_of_rows = None if full else mask
        blind_rows = blind if has_blind else None
        groups.append(
            Group(
                _view(layout, rows, stream),
                _view(source, keys, source_stream),
                mask_of_rows,
                blind_rows,
            )
        )
    return groups


def finish(groups: list[Group], dtype: torch.dtype) -> list[Group]:
    """Write each mask as numbers to add."""
    for group in groups:
        if group.mask is not None:
            zeros = torch.zeros(group.mask.shape, dtype=dtype, device=group.mask.device)
            group.additive = zeros.masked_fill_(~group.mask, -torch.inf).unsqueeze(1)
    return groups


def one_position(adapters: tuple[str, ...], tasks: tuple[str, ...], device: torch.device) -> Layout:
    """The layout of a single position, of the first adapter and task."""
    zero = torch.zeros(1, dtype=torch.int64, device=device)
    return Layout(
        sequence=zero,
        segment=zero,
        coordinates=zero.view(1, 1).expand(1, 3),
        causal=zero.bool(),
        visible=~zero.bool(),
        adapter=zero,
        adapters=adapters[:1],
        task=zero,
        tasks=tasks[:1],
        slots=("",),
        rows=(zero.view(1, 1),),
        sequences=1,
    )
