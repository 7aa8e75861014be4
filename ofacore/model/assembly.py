"""What the universal model is put together from: parts of plugins, type vectors, norms, the backbone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from ofacore.config.schema import ModelConfig
from ofacore.model.backbone import MegatronBackbone
from ofacore.model.initial import normal, seeded
from ofacore.model.needs import Components, ModelNeeds, Part
from ofacore.model.stacks import BackboneContext
from ofacore.parallel.norms import norm
from ofacore.plugin import PluginError
from ofacore.plugin.blame import Blame, who
from ofacore.plugin.guard import guarded_building
from ofacore.protocols import Adapter, BuildContext, PositionGrid, seen_as


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
    linear = frozenset(name for name, module in adapters.items() if _axes(name, module) == 1)
    schemes = {}
    if config.positions not in ("rotary", "untied"):
        schemes[config.positions] = registry.load("positions", config.positions)
    found = {name: _grid(name, module) for name, module in adapters.items()}
    grids = {name: grid for name, grid in found.items() if grid is not None}
    context = BackboneContext(
        tuple(adapters), needs.tasks, linear, grids, frozenset(needs.attention_layers), schemes, seed,
        _routers(config.experts, registry),
    )  # fmt: skip
    build = MegatronBackbone if config.backbone == "megatron" else registry.load("backbone", config.backbone)
    with seeded(f"backbone.{config.backbone}", seed):
        return build(config, context)  # type: ignore[no-any-return]


def _axes(name: str, module: nn.Module) -> int:
    axes = seen_as(Adapter, module).axes
    if axes not in (1, 3):
        raise PluginError(f"adapter '{name}': axes = {axes!r}; 1 for positions on a line, or 3")
    return axes


def _grid(name: str, module: nn.Module) -> PositionGrid | None:
    grid = seen_as(Adapter, module).grid
    if grid is not None and not isinstance(grid, PositionGrid):
        raise PluginError(f"adapter '{name}': grid is a {type(grid).__name__}; give a PositionGrid, or None")
    return grid


def _routers(name: str, registry: Components) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """The router of a plugin, if one is asked for.

    Raises:
        PluginError: It has parameters; only the core's own learned router is trained.
    """
    if name in ("none", "modality", "task", "topk"):
        return {}
    build, declared = registry.load("router", name), registry.component("router", name).options
    if isinstance(build, type) and issubclass(build, nn.Module):
        raise PluginError(f"router '{name}' is a module; a router of a plugin has no parameters, 'topk' learns")
    return {name: lambda given: build({**declared, **given})}
