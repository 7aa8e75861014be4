"""Adapters whose forward pass communicates: no data rank may leave one out that another calls in the same place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from ofacore.parallel.agreement import everyones, in_lockstep
from ofacore.parallel.process_groups import data_size
from ofacore.protocols import AdapterCall, Batch, Side

Kind = tuple[Side, str]
"""Side and adapter."""


def lockstep(model: Any) -> bool:
    """Whether data ranks talk to each other within every micro-batch, so that all must compute equally many."""
    return in_lockstep() or (data_size() > 1 and bool(getattr(model, "collective", ())))


def in_step(model: Any, batches: Sequence[Batch]) -> Sequence[Batch]:
    """A rank's micro-batches with what it owes to the others: empty ones behind them, and stand-in calls.

    A stand-in has the features of the smallest call that any rank makes of that adapter in the step.
    """
    if not lockstep(model):
        return batches
    names: frozenset[str] = getattr(model, "collective", frozenset())
    own = [_kinds(batch, names) for batch in batches]
    found = everyones((own, _smallest(batches, names)))
    places = max(len(each) for each, _ in found)
    offered: dict[Kind, AdapterCall] = {}
    for _, calls in found:
        for kind, call in calls.items():
            if kind not in offered or len(call.index) < len(offered[kind].index):
                offered[kind] = call
    whole = [*batches, *[Batch(None, None, (), ())] * (places - len(batches))]
    return [_with(batch, place, found, offered, own) for place, batch in enumerate(whole)]


def _with(
    batch: Batch, place: int, found: Any, offered: dict[Kind, AdapterCall], own: list[set[Kind]]
) -> Batch:
    missing = {kind for each, _ in found if place < len(each) for kind in each[place]}
    if place < len(own):
        missing -= own[place]
    if not missing:
        return batch
    stand_ins = tuple((kind[0], offered[kind]) for kind in sorted(missing))
    return replace(batch, stand_ins=stand_ins)


def _kinds(batch: Batch, names: frozenset[str]) -> set[Kind]:
    return {(side, call.adapter) for side, call in _calls(batch, names)}


def _calls(batch: Batch, names: frozenset[str]) -> Iterator[tuple[Side, AdapterCall]]:
    sides: tuple[tuple[Side, Any], ...] = (("source", batch.source), ("target", batch.target))
    for name, side in sides:
        for call in side.calls if side is not None else ():
            if call.adapter in names and len(call.index):
                yield name, call


def _smallest(batches: Sequence[Batch], names: frozenset[str]) -> dict[Kind, AdapterCall]:
    found: dict[Kind, AdapterCall] = {}
    for side, call in (pair for batch in batches for pair in _calls(batch, names)):
        kind = side, call.adapter
        if kind not in found or len(call.index) < len(found[kind].index):
            found[kind] = call
    return {kind: _on_cpu(call) for kind, call in found.items()}


def _on_cpu(call: AdapterCall) -> AdapterCall:
    features: dict[str, torch.Tensor] = {
        name: value.detach().cpu() for name, value in call.features.items()
    }
    return replace(call, features=features, index=call.index.cpu())
