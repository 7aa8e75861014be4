"""The two stacks of the default backbone, and what every pass through them looks up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ofacore.config.schema import ModelConfig
from ofacore.model.experts import ModalityRouter, Routing, TaskRouter, fixed_sizes, sort_by_expert
from ofacore.model.initial import initialise
from ofacore.model.layers import Layer
from ofacore.model.positions import OwnHeads, PositionOptions, Rotary, Scheme
from ofacore.model.presets import resolve
from ofacore.model.rows import Stream, note_kinds, stream_of
from ofacore.model.untied import Untied
from ofacore.parallel.groups import tensor_size
from ofacore.parallel.norms import norm
from ofacore.parallel.sharding import mark_by_position
from ofacore.protocols import BackboneContext, Layout

_SCHEMES: dict[str, Callable[[PositionOptions], Any]] = {"rotary": Rotary, "untied": Untied}


class Stacks(nn.Module):
    """Encoder and decoder layers with their last norms, position scheme and experts."""

    def __init__(self, config: ModelConfig, context: BackboneContext) -> None:
        super().__init__()
        self.config, self.context, self.sizes = config, context, resolve(config)
        sizes = self.sizes
        options = PositionOptions(
            sizes, sizes.heads, config.max_positions, config.attn_scale_factor,
            config.share_attn_bias, config.entangle_positions, config.layernorm_position, config.attention_bias,
            config.position_buckets, context.adapters, context.linear, context.grids,
        )  # fmt: skip
        self.positions: Scheme = {**_SCHEMES, **context.schemes}[config.positions](options)
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
    def scheme(self) -> Scheme | OwnHeads:
        """Positions, with features and biases for the heads of this process."""
        whole = tensor_size() == 1 or getattr(self.positions, "splits_heads", False)
        return self.positions if whole else OwnHeads(self.positions)

    def _stack(self, number: int, cross: bool, path_rate: float) -> nn.ModuleList:
        """Layers whose drop rate grows linearly from 0 to ``path_rate``."""
        rates = torch.linspace(0, path_rate, number).tolist()
        return nn.ModuleList(
            Layer(self.config, self.sizes, index, self.expert_names(), cross, rate) for index, rate in enumerate(rates)
        )

    def expert_names(self) -> tuple[str, ...]:
        """Names of the feed-forward experts; empty for dense layers."""
        numbered = tuple(str(number) for number in range(self.config.experts_number))
        by_kind = {"none": (), "modality": self.context.adapters, "task": self.context.tasks}
        return by_kind.get(self.config.experts, numbered)

    def _device(self) -> torch.device:
        return next(self.parameters()).device

    def _kind(self, adapter: str, coordinates: Tensor) -> Tensor:
        number = self.context.adapters.index(adapter) if adapter in self.context.adapters else -1
        kind = torch.full(coordinates.shape[:-1], number, device=coordinates.device)
        note_kinds(kind, [number], [kind.numel()])
        return kind

    def _stream(self, layout: Layout) -> Stream:
        return stream_of(layout, self.context.adapters, self.context.linear)

    def _routing(self, layout: Layout) -> Routing | None:
        """Experts of all positions, where they do not depend on the states."""
        routers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "modality": ModalityRouter,
            "task": TaskRouter,
            **self.context.routers,
        }
        if self.config.experts not in routers:
            return None
        names = self.expert_names()
        if self._router is None:
            self._router = routers[self.config.experts]({"names": names, "number": len(names)})
        experts, _ = self._router(layout, layout.sequence)
        if self.config.experts in self.context.routers:
            _check_experts(self.config.experts, experts, layout.positions, len(names))
        return sort_by_expert(experts, len(names), self._sizes(layout, names))

    def _sizes(self, layout: Layout, names: tuple[str, ...]) -> tuple[int, ...] | None:
        """Positions of each expert, where the host knows."""
        facts, kind = layout.facts, self.config.experts
        if facts is None or kind in self.context.routers:
            return None
        by_adapter = kind == "modality"
        counts = facts.adapters if by_adapter else facts.tasks
        return fixed_sizes(names, layout.adapters if by_adapter else layout.tasks, counts)


def _check_experts(router: str, experts: Tensor, positions: int, number: int) -> None:
    """Make sure that a plugin's router gave one expert that exists for each position."""
    if experts.shape != (positions, 1) or bool(((experts < 0) | (experts >= number)).any()):
        shape = list(experts.shape)
        raise ValueError(
            f"router '{router}' gave {shape} experts from {int(experts.min())} to {int(experts.max())}; "
            f"a router of a plugin gives [{positions}, 1], from 0 to {number - 1}"
        )
