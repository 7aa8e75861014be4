"""One stage's part of a forward pass, and what it hands to the next stage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ofacore.model.item_needs import total
from ofacore.model.pipeline.stages import Stage
from ofacore.protocols import Batch, BatchSide, ExpertBackbone

if TYPE_CHECKING:
    from ofacore.model.universal import UniversalModel


@dataclass
class Boundary:
    """What passes from stage to stage."""

    memory: Tensor | None
    """[N, H]: states of the encoder, or its output."""
    decoded: Tensor | None
    """[M, H]: states of the decoder, once it has begun."""
    extra: Tensor
    """[1, H]: its first number is the sum of the balance losses so far. As it always travels, so does a gradient, from
    a stage that trains nothing too."""

    def pack(self) -> Tensor:
        """One tensor [rows, 1, H] of its own memory."""
        parts = (self.memory, self.decoded, self.extra)
        return torch.cat([part.unsqueeze(1) for part in parts if part is not None])

    def plus(self, balance: list[Tensor]) -> Boundary:
        """The same with more balance losses."""
        if not balance:
            return self
        total = self.extra[:, :1] + torch.stack([loss.float() for loss in balance]).sum().to(
            self.extra.dtype
        )
        return replace(self, extra=torch.cat([total, self.extra[:, 1:]], 1))


def _rows(side: BatchSide | None) -> int:
    """Positions of a side that travel."""
    return sum(len(call.index) for call in side.calls) if side else 0


def unpack(stage: Stage, batch: Batch, received: Tensor) -> Boundary:
    """What the stage before packed: every stage knows the lengths from the batch."""
    sizes = [_rows(batch.source), _rows(batch.target) if stage.decoder_began else 0, 1]
    memory, decoded, extra = received.squeeze(1).split(sizes)
    own_memory = memory if sizes[0] else None
    own_decoded = decoded if sizes[1] else None
    return Boundary(own_memory, own_decoded, extra)


def forward_stage(model: UniversalModel, batch: Batch, received: Tensor | None) -> Boundary:
    """One stage's part of the forward pass; begins a new one.

    Args:
        model: Cut by `cut_model`.
        batch: The micro-batch; features are needed on the stages of their adapters alone.
        received: What the stage before packed; None on the first.
    """
    assert model.stage is not None
    model.embedding.begin()
    if isinstance(model.backbone, ExpertBackbone):
        model.backbone.balance = []
    now, owed = (
        _begun(model, batch) if received is None else (unpack(model.stage, batch, received), [])
    )
    owed += _encoded(model, batch, now)
    owed += _decoded(model, batch, now)
    idle = total(owed)
    balance = list(model.backbone.balance) if isinstance(model.backbone, ExpertBackbone) else []
    return now.plus([*balance, *([] if idle is None else [idle])])


def _begun(model: UniversalModel, batch: Batch) -> tuple[Boundary, list[Tensor | None]]:
    weight = next(model.parameters())
    kind = {"dtype": weight.dtype, "device": weight.device}
    extra = torch.zeros(1, model.sizes.hidden, **kind, requires_grad=True)
    source, zeros = model.stream("source", batch)
    return Boundary(source, None, extra), [*zeros]


def _encoded(model: UniversalModel, batch: Batch, now: Boundary) -> list[Tensor | None]:
    """Run this stage's encoder layers; returns zeros with a path to what is owed to other processes."""
    assert model.stage is not None
    layers = model.stage.plan.layers("encoder", model.stage.number)
    if now.memory is None or batch.source is None:
        return [model.backbone.idle("encoder", layers)]
    if model.stage.encodes:
        now.memory = model.backbone.encode(now.memory, batch.source.layout, layers)
    return []


def _decoded(model: UniversalModel, batch: Batch, now: Boundary) -> list[Tensor | None]:
    """The same for the decoder, which begins with the target's stream."""
    assert model.stage is not None
    layers, owed = model.stage.plan.layers("decoder", model.stage.number), list[Tensor | None]()
    if model.stage.starts_decoder:
        now.decoded, zeros = model.stream("target", batch)
        owed += zeros
    if now.decoded is None or batch.target is None:
        return [*owed, model.backbone.idle("decoder", layers)]
    if model.stage.decodes:
        source = (
            batch.source.layout if now.memory is not None and batch.source is not None else None
        )
        now.decoded = model.backbone.decode(
            now.decoded, batch.target.layout, now.memory, source, layers
        )
    return owed


def balance_of(model: UniversalModel, batch: Batch, now: Boundary) -> Tensor | None:
    """Mean balance loss of all layers that ran, on the last stage; None where layers have no routers of their own."""
    assert model.stage is not None
    plan = model.stage.plan
    layers = plan.encoder_layers * bool(_rows(batch.source)) + plan.decoder_layers * bool(
        _rows(batch.target)
    )
    return now.extra[0, 0].float() / layers if model.backbone.learned_router and layers else None


def share_of(stage: Stage, batch: Batch) -> Batch:
    """The batch without features, stand-ins and loss terms that other stages use."""
    embeds = {"source": stage.first, "target": stage.starts_decoder}
    source = batch.source if embeds["source"] else _without_features(batch.source)
    target = batch.target if embeds["target"] else _without_features(batch.target)
    terms = batch.terms if stage.last else ()
    return Batch(
        source,
        target,
        terms,
        batch.samples,
        tuple((side, call) for side, call in batch.stand_ins if embeds[side]),
    )


def _without_features(side: BatchSide | None) -> BatchSide | None:
    return side and BatchSide(side.layout, tuple(replace(call, features={}) for call in side.calls))
