"""What a backbone must have, and what a run may ask of it; told when the model is built."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import Sizes, resolve, with_sizes
from ofacore.ground.errors import UserError
from ofacore.model.backbone.divisions import asked, cannot_divide
from ofacore.model.item_needs import Components, ModelNeeds
from ofacore.parallel.process_groups import layout
from ofacore.plugin import PluginError
from ofacore.protocols import AttentionBackbone, ExpertBackbone, ShardedBackbone, StagedBackbone

_REQUIRED = {
    "encode": "encode(self, states, layout): source states [N, H] -> hidden [N, H]",
    "decode": "decode(self, states, layout, memory, source): target states [M, H] -> hidden [M, H]",
}
_PROTOCOLS: dict[str, type] = {
    "pipeline": StagedBackbone,
    "fsdp": ShardedBackbone,
    "expert": ExpertBackbone,
}
"""Division -> what a backbone that can be divided so offers."""


def sizes_of(config: ModelConfig, registry: Components) -> Sizes:
    """Sizes of a model, its width as its backbone has it."""
    found = resolve(config)
    width = getattr(registry.load("backbone", config.backbone), "hidden_size", None)
    return found if width is None else replace(found, hidden=int(width(with_sizes(config, found))))


def restarts(config: ModelConfig, registry: Components) -> bool:
    """Whether coordinates count from 0 in every run and segment: the backbone says, else the position scheme."""
    declared = getattr(registry.load("backbone", config.backbone), "restarts", None)
    if declared is None:
        declared = getattr(registry.load("positions", config.positions), "restarts", False)
    return bool(declared)


def check_members(built: Any, owner: str) -> None:
    """Make sure that a backbone has what every one needs.

    Args:
        built: The backbone.
        owner: It and its plugin, in words.

    Raises:
        PluginError: Something is missing.
    """
    if not isinstance(built, nn.Module):
        raise PluginError(f"{owner} is a {type(built).__name__}; a backbone is an nn.Module")
    for name, form in _REQUIRED.items():
        if not callable(getattr(built, name, None)):
            raise PluginError(
                f"{owner}: class {type(built).__name__} has no method '{name}'; write {form} "
                "(ofacore.protocols.Backbone)"
            )


def check_divisions(owner: str, divides: Collection[str]) -> None:
    """Make sure that a backbone can be divided as the processes of this run are.

    Args:
        owner: The backbone and its plugin, in words.
        divides: What its manifest says.

    Raises:
        UserError: It cannot.
    """
    for division, key, value in asked(layout()):
        if division not in divides:
            raise UserError(cannot_divide(owner, key, value))


def check_wishes(
    built: nn.Module, owner: str, config: ModelConfig, needs: ModelNeeds, registry: Components
) -> None:
    """Make sure that a backbone offers what configuration, criteria and processes ask for.

    Raises:
        PluginError: It lacks members of what its manifest says.
        UserError: It offers no experts, or no attention.
    """
    for division, key, _ in asked(layout()):
        wanted = _PROTOCOLS.get(division)
        if wanted is not None and not isinstance(built, wanted):
            raise PluginError(
                f"{owner} says divides=('{division}',), but has not all members of "
                f"ofacore.protocols.{wanted.__name__}; write them, or leave --{key} out"
            )
    if config.experts != "none" and not isinstance(built, ExpertBackbone):
        raise UserError(
            f"model.experts={config.experts}, but {owner} has no experts (ofacore.protocols.ExpertBackbone); "
            "set model.experts=none, or another model.backbone"
        )
    if needs.attention_layers and not isinstance(built, AttentionBackbone):
        named = ", ".join(f"'{name}'" for name in _readers_of_attention(needs, registry))
        raise UserError(
            f"criterion {named} reads the attention of the decoder, which {owner} does not give "
            "(ofacore.protocols.AttentionBackbone); choose another criterion, or another model.backbone"
        )


def _readers_of_attention(needs: ModelNeeds, registry: Components) -> Iterator[str]:
    for part in needs.criteria:
        if "attention" in registry.load("criterion", part.name).needs:
            yield part.name
