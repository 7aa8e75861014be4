"""Which component makes numbers that are not finite out of numbers that are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ofacore.model.checked_loss import parts_of
from ofacore.parallel.process_groups import layout
from ofacore.protocols import AdapterCall, Batch, TermGroup

if TYPE_CHECKING:
    from ofacore.model.item_needs import Hidden
    from ofacore.model.universal import UniversalModel


@torch.no_grad()
def source_of_not_finite(
    model: UniversalModel, batch: Batch, hidden: Hidden | None, groups: Sequence[TermGroup]
) -> tuple[str, str]:
    """Kind and name of the first component of a micro-batch that does; empty where none does.

    Asked when a loss is not finite. Components are called once more, in evaluation mode, so that
    nothing changes. Collective adapters must not be called by one process alone: the model has
    noted what they gave.

    Args:
        model: The model.
        batch: The micro-batch.
        hidden: Its hidden states, if they are known.
        groups: Its loss items, with labels.
    """
    for adapter in _adapters(model, batch):
        return "adapter", adapter
    if hidden is None or layout().tensor > 1:
        # Heads of a tensor group see different columns, and may not decide apart what to call next.
        return "", ""
    for group in groups:
        states = hidden.source if group.side == "source" else hidden.target
        if states is None or not _is_finite(states.index_select(0, group.index)):
            continue
        with _evaluating(model.heads[group.head]):
            prediction = model.predict(group, hidden)
        if _is_broken(prediction):
            return "head", group.head
        known = all(map(_is_finite, group.labels.values()))
        if known and _breaks(model, group, prediction, hidden):
            return "criterion", group.criterion
    return "", ""


def _adapters(model: UniversalModel, batch: Batch) -> Iterator[str]:
    for side in (batch.source, batch.target) if model.stage is None else ():
        for call in side.calls if side else ():
            if all(map(_is_finite, call.features.values())) and not _embeds_finite(model, call):
                yield call.adapter


def _embeds_finite(model: UniversalModel, call: AdapterCall) -> bool:
    if call.adapter in model.collective:
        return all(bool(found) for name, found in model.finite_states if name == call.adapter)
    module = model.adapters[call.adapter]
    with _evaluating(module):
        features = dict(call.features)
        for name, value in call.features.items():
            if value.is_floating_point():
                features[name] = value.to(model.dtype)
        return _is_finite(model.embedded(call.adapter, features, call.shapes, None))


def _breaks(model: UniversalModel, group: TermGroup, prediction: Any, hidden: Hidden) -> bool:
    criterion = model.criterion(group.criterion, group.options)
    if criterion.scope == "step":
        return False
    with _evaluating(criterion):
        return not _is_finite(model.loss(group, prediction, hidden).values)


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    training = isinstance(module, nn.Module) and module.training
    if training:
        module.eval()
    try:
        yield
    finally:
        if training:
            module.train()


def _is_finite(values: Tensor) -> bool:
    return not values.is_floating_point() or bool(values.isfinite().all())


def _is_broken(prediction: Any) -> bool:
    """Whether it has numbers that no head gives on purpose; minus infinity rules a choice out."""
    for part in parts_of(prediction):
        if not isinstance(part, Tensor) or not part.is_floating_point():
            continue
        if bool((part.isnan() | part.isposinf()).any()):
            return True
    return False
