"""A micro-batch on its way to the device of the model."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ofacore.contract.batch import RowPlaces
from ofacore.parallel.host_transfer import to_device
from ofacore.protocols import AdapterCall, Batch, BatchSide, Layout, TermGroup


def batch_on(batch: Batch, device: torch.device) -> Batch:
    """A micro-batch with all its tensors on a device; the same object where they are there already."""
    if all(tensor.device == device for tensor in _one_of_each(batch)):
        return batch
    return replace(
        batch,
        source=_side_on(batch.source, device),
        target=_side_on(batch.target, device),
        terms=tuple(_group_on(group, device) for group in batch.terms),
        stand_ins=tuple((side, _call_on(call, device)) for side, call in batch.stand_ins),
    )


def _one_of_each(batch: Batch) -> list[Tensor]:
    """A tensor of each side and each group of terms; the others are where it is."""
    sides = [side.layout.sequence for side in (batch.source, batch.target) if side is not None]
    groups = [group.index for group in batch.terms]
    return sides + groups


def _side_on(side: BatchSide | None, device: torch.device) -> BatchSide | None:
    if side is None:
        return None
    return replace(
        side,
        layout=_layout_on(side.layout, device),
        calls=tuple(_call_on(call, device) for call in side.calls),
        order=_known_on(side.order, device),
    )


def _layout_on(layout: Layout, device: torch.device) -> Layout:
    names = ("sequence", "segment", "coordinates", "causal", "visible", "adapter", "task")
    facts = layout.facts
    if facts is not None:
        memory = None if facts.memory_places is None else _places_on(facts.memory_places, device)
        facts = replace(facts, places=_places_on(facts.places, device), memory_places=memory)
    return replace(
        layout,
        **{name: to_device(getattr(layout, name), device) for name in names},
        rows=tuple(to_device(rows, device) for rows in layout.rows),
        memory=_known_on(layout.memory, device),
        memory_rows=tuple(to_device(rows, device) for rows in layout.memory_rows),
        facts=facts,
    )


def _places_on(places: RowPlaces, device: torch.device) -> RowPlaces:
    if places.index is None:
        return places
    return RowPlaces(to_device(places.index, device), _known_on(places.inverse, device))


def _known_on(tensor: Tensor | None, device: torch.device) -> Tensor | None:
    return None if tensor is None else to_device(tensor, device)


def _call_on(call: AdapterCall, device: torch.device) -> AdapterCall:
    features = {name: to_device(value, device) for name, value in call.features.items()}
    return replace(call, features=features, index=to_device(call.index, device))


def _group_on(group: TermGroup, device: torch.device) -> TermGroup:
    labels = {name: to_device(value, device) for name, value in group.labels.items()}
    return replace(group, index=to_device(group.index, device), labels=labels)
