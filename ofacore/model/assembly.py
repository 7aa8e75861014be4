"""What the universal model is put together from: parts of plugins, type vectors, norms, the backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from ofacore.config.schema import ModelConfig
from ofacore.model.initial import normal, seeded
from ofacore.model.needs import Components, ModelNeeds, Part
from ofacore.model.positions import scheme_of
from ofacore.model.routing import router_of
from ofacore.model.stacks import BackboneContext
from ofacore.parallel.norms import norm
from ofacore.plugin.blame import Blame, who
from ofacore.plugin.guard import guarded_building
from ofacore.protocols import BuildContext, PositionGrid


def parts(
    kind: str, wanted: Sequence[Part], options: Mapping[str, Mapping[str, Any]], context: BuildContext,
    registry: Components, seed: int,
) -> nn.ModuleDict:  # fmt: skip
    """Adapters or heads by name; options of the configuration go before a part's own."""
    modules = nn.ModuleDict()
    for part in wanted:
        with seeded(f"{kind}.{part.name}", seed):
            given = replace(context, options={**part.options, **options.get(part.name, {})})
            owner, build = who(registry, kind, part.name), registry.load(kind, part.name)
            with Blame(owner, "when it was built"), guarded_building(owner):
                modules[part.name] = build(given)
    return modules


def embedding_norm(config: ModelConfig, adapters: nn.ModuleDict, hidden: int) -> nn.Module:
    """Normalisation of one side's embeddings; by adapter where each has its own."""
    if not config.layernorm_embedding:
        return nn.Identity()
    if not config.norm_per_adapter:
        return norm(config.norm_type, hidden)
    return nn.ModuleDict({name: norm(config.norm_type, hidden) for name in adapters})


def type_vectors(config: ModelConfig, adapters: nn.ModuleDict, hidden: int, seed: int) -> nn.ParameterDict:
    """A vector [H] for each side and adapter; empty without type embedding."""
    if not config.type_embedding:
        return nn.ParameterDict()
    sides = ("source", "target") if config.target_type_embedding else ("source",)
    names = [f"{side}/{name}" for name in adapters for side in sides]
    return nn.ParameterDict({name: nn.Parameter(normal(f"types.{name}", (hidden,), seed)) for name in names})


def backbone(
    config: ModelConfig, adapters: nn.ModuleDict, needs: ModelNeeds, registry: Components, seed: int
) -> nn.Module:
    """The backbone that the configuration names."""
    linear = frozenset(name for name, module in adapters.items() if getattr(module, "axes", 3) == 1)
    grids = {
        name: module.grid
        for name, module in adapters.items()
        if isinstance(getattr(module, "grid", None), PositionGrid)
    }
    context = BackboneContext(
        tuple(adapters), needs.tasks, linear, grids, frozenset(needs.attention_layers),
        scheme_of(config, registry), seed, router_of(config.experts, registry),
    )  # fmt: skip
    build = registry.load("backbone", config.backbone)
    with seeded(f"backbone.{config.backbone}", seed):
        return build(config, context)  # type: ignore[no-any-return]
