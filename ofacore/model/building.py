"""What the universal model is put together from: parts of plugins, type vectors, norms, the backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import with_sizes
from ofacore.model.backbone.abilities import check_divisions, check_members, check_wishes, sizes_of
from ofacore.model.backbone.positions import scheme_of
from ofacore.model.backbone.routing import router_of
from ofacore.model.item_needs import Components, ModelNeeds, Part
from ofacore.model.weights.initial import normal, seeded
from ofacore.parallel.norms import norm
from ofacore.plugin import PluginError
from ofacore.plugin.blame import who
from ofacore.plugin.guard import built_by
from ofacore.protocols import (
    Adapter,
    BackboneContext,
    BuildContext,
    PositionGrid,
    PositionLine,
    seen_as,
)


def parts(
    kind: str, wanted: Sequence[Part], context: BuildContext, registry: Components, seed: int
) -> nn.ModuleDict:
    """Adapters or heads by name."""
    modules = nn.ModuleDict()
    for part in wanted:
        with seeded(f"{kind}.{part.name}", seed):
            given = replace(context, options=dict(part.options))
            owner, build = who(registry, kind, part.name), registry.load(kind, part.name)
            with built_by(owner):
                modules[part.name] = build(given)
    return modules


def embedding_norm(config: ModelConfig, adapters: nn.ModuleDict, hidden: int) -> nn.Module:
    """Normalisation of one side's embeddings; by adapter where each has its own."""
    if not config.layernorm_embedding:
        return nn.Identity()
    if not config.norm_per_adapter:
        return norm(config.norm_type, hidden)
    return nn.ModuleDict({name: norm(config.norm_type, hidden) for name in adapters})


def type_vectors(
    config: ModelConfig, adapters: nn.ModuleDict, hidden: int, seed: int
) -> nn.ParameterDict:
    """A vector [H] for each side and adapter; empty without type embedding."""
    if not config.type_embedding:
        return nn.ParameterDict()
    sides = ("source", "target") if config.target_type_embedding else ("source",)
    names = [f"{side}/{name}" for name in adapters for side in sides]
    return nn.ParameterDict(
        {name: nn.Parameter(normal(f"types.{name}", (hidden,), seed)) for name in names}
    )


def backbone(
    config: ModelConfig, adapters: nn.ModuleDict, needs: ModelNeeds, registry: Components, seed: int
) -> nn.Module:
    """The backbone that the configuration names.

    Raises:
        PluginError: It lacks what every backbone needs.
        UserError: The run asks for something that it does not offer.
    """
    name, owner = config.backbone, who(registry, "backbone", config.backbone)
    declared = registry.component("backbone", name)
    check_divisions(owner, declared.divides)
    linear = frozenset(name for name, module in adapters.items() if _axes(name, module) == 1)
    found = {name: _grid(name, module) for name, module in adapters.items()}
    grids = {name: grid for name, grid in found.items() if grid is not None}
    context = BackboneContext(
        tuple(adapters),
        needs.tasks,
        linear,
        grids,
        frozenset(needs.attention_layers),
        scheme_of(config, registry),
        seed,
        router_of(config.experts, registry),
        {**declared.options, **config.options},
        _lines(adapters),
    )
    build, given = registry.load("backbone", name), with_sizes(config, sizes_of(config, registry))
    with seeded(f"backbone.{name}", seed), built_by(owner):
        built = build(given, context)
    check_members(built, owner)
    check_wishes(built, owner, config, needs, registry)
    return built  # type: ignore[no-any-return]


def _axes(name: str, module: nn.Module) -> int:
    axes = seen_as(Adapter, module).axes
    if axes not in (1, 3):
        raise PluginError(f"adapter '{name}': axes = {axes!r}; 1 for positions on a line, or 3")
    return axes


def _lines(adapters: nn.ModuleDict) -> dict[str, PositionLine]:
    """Adapter -> its own places on a line, of those that have any.

    Raises:
        PluginError: They are given in another form, or the adapter's positions do not lie on a line.
    """
    found: dict[str, PositionLine] = {}
    for name, module in adapters.items():
        line = seen_as(Adapter, module).line
        if line is None:
            continue
        if not isinstance(line, PositionLine) or _axes(name, module) != 1:
            raise PluginError(
                f"adapter '{name}': line is {line!r:.60}; give a PositionLine with axes = 1, or None"
            )
        found[name] = line
    return found


def _grid(name: str, module: nn.Module) -> PositionGrid | None:
    grid = seen_as(Adapter, module).grid
    if grid is not None and not isinstance(grid, PositionGrid):
        raise PluginError(
            f"adapter '{name}': grid is a {type(grid).__name__}; give a PositionGrid, or None"
        )
    return grid
