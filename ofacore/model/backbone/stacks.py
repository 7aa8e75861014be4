"""The two stacks of the default backbone, and what every pass through them looks up."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import Sizes, resolve
from ofacore.model.backbone.attention_rows import Stream, stream_of
from ofacore.model.backbone.experts import ExpertsPlan, Routing
from ofacore.model.backbone.layers import TransformerLayer
from ofacore.model.backbone.position_kinds import note_kinds
from ofacore.model.backbone.positions import OwnHeads
from ofacore.model.weights.initial import initialise
from ofacore.parallel.norms import norm
from ofacore.parallel.process_groups import tensor_size
from ofacore.parallel.sharding import mark_by_position
from ofacore.protocols import BackboneContext, Layout, Positions, PositionsContext


class Stacks(nn.Module):
    """Encoder and decoder layers with their last norms, position scheme and experts."""

    def __init__(self, config: ModelConfig, context: BackboneContext) -> None:
        super().__init__()
        self.config, self.context, self.sizes = config, context, resolve(config)
        sizes = self.sizes
        assert context.positions is not None
        self.positions: Positions = context.positions(_positions_context(config, sizes, context))
        self.encoder = self._stack(sizes.encoder_layers, False, config.encoder_drop_path)
        self.decoder = self._stack(sizes.decoder_layers, True, config.decoder_drop_path)
        final = config.norm == "pre"
        self.encoder_norm = norm(config.norm_type, sizes.hidden) if final else nn.Identity()
        self.decoder_norm = norm(config.norm_type, sizes.hidden) if final else nn.Identity()
        mark_by_position(self.encoder_norm)
        mark_by_position(self.decoder_norm)
        self._router: Any = None
        self.balance: list[Tensor] = []
        self.attention: dict[int, list[Tensor]] = {}
        initialise(self, "backbone", context.seed)

    @property
    def scheme(self) -> Positions | OwnHeads:
        """Positions, with features and biases for the heads of this process."""
        whole = tensor_size() == 1 or getattr(self.positions, "splits_heads", False)
        return self.positions if whole else OwnHeads(self.positions)

    def _stack(self, number: int, cross: bool, path_rate: float) -> nn.ModuleList:
        """Layers whose drop rate grows linearly from 0 to ``path_rate``."""
        rates = torch.linspace(0, path_rate, number).tolist()
        plain = frozenset(getattr(self.positions, "plain", ()))
        return nn.ModuleList(
            TransformerLayer(self.config, self.sizes, index, self.experts(), cross, rate, plain)
            for index, rate in enumerate(rates)
        )

    def experts(self) -> ExpertsPlan | None:
        """The feed-forward experts of a layer; None for dense layers."""
        router = self.context.router
        return (
            None
            if router is None
            else ExpertsPlan(self.expert_names(), router, self.config.experts_k)
        )

    def expert_names(self) -> tuple[str, ...]:
        """Names of the feed-forward experts; empty for dense layers."""
        router = self.context.router
        if router is None:
            return ()
        numbered = tuple(str(number) for number in range(self.config.experts_number))
        return {"adapters": self.context.adapters, "tasks": self.context.tasks}.get(
            router.experts, numbered
        )

    @property
    def learned_router(self) -> bool:
        """Each layer has a router of its own."""
        return self.context.router is not None and self.context.router.by_layer

    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _kind(self, adapter: str, coordinates: Tensor) -> Tensor:
        number = self.context.adapters.index(adapter) if adapter in self.context.adapters else -1
        kind = torch.full(coordinates.shape[:-1], number, device=coordinates.device)
        note_kinds(kind, [number], [kind.numel()])
        return kind

    def _stream(self, layout: Layout) -> Stream:
        return stream_of(layout, self.context.adapters, self.context.linear)

    def _routing(self, layout: Layout) -> Routing | Layout | None:
        """Experts of all positions; the layout itself, where each layer has a router of its own."""
        plan = self.experts()
        if plan is None:
            return None
        if plan.router.by_layer:
            return layout
        if self._router is None:
            self._router = plan.build(self.sizes.hidden)
        return plan.router.routing(self._router, layout, None, len(plan.names))[0]


def _positions_context(
    config: ModelConfig, sizes: Sizes, context: BackboneContext
) -> PositionsContext:
    return PositionsContext(
        hidden=sizes.hidden,
        heads=sizes.heads,
        encoder_layers=sizes.encoder_layers,
        decoder_layers=sizes.decoder_layers,
        max_positions=config.max_positions,
        scale_factor=config.attn_scale_factor,
        adapters=context.adapters,
        linear=context.linear,
        grids=context.grids,
        lines=context.lines,
    )
