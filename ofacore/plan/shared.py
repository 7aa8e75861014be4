"""Options that several components of a modality share: set once, of the preprocessor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ofacore.plan.types import TaskPlan
from ofacore.plugin import PluginError, Registry
from ofacore.protocols import Options, SlotPlan

Given = Mapping[tuple[str, str], Options]
"""(kind, name) of a component -> what the configuration sets for it, which goes before what is shared."""


def with_shared_options(
    registry: Registry, plans: Mapping[str, TaskPlan], given: Given
) -> Registry:
    """The registry whose components have, as defaults, what the preprocessors of their slots share with them.

    Raises:
        PluginError: Two preprocessors give one component different values.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    giver: dict[tuple[str, str, str], str] = {}
    for slot in (slot for plan in plans.values() for slot in plan.slots()):
        shared = _shared(slot.preprocessor, registry)
        for kind, name in _serving(slot) if shared else ():
            taken = (
                registry.component(kind, name).options.keys() - given.get((kind, name), {}).keys()
            )
            for option in shared.keys() & taken:
                other = giver.setdefault((kind, name, option), slot.preprocessor)
                value = found.setdefault((kind, name), {}).setdefault(option, shared[option])
                if value != shared[option]:
                    raise PluginError(
                        f"the option '{option}' of {kind} '{name}' is {value!r} by preprocessor '{other}' and "
                        f"{shared[option]!r} by preprocessor '{slot.preprocessor}': set both alike, or give one of "
                        f"them another {kind} by the attribute {kind}=<name>"
                    )
    return registry.pinned(found) if found else registry


def _shared(name: str, registry: Registry) -> dict[str, Any]:
    """Option -> value, of those that a preprocessor shares."""
    component = registry.component("preprocessor", name)
    return {
        option: component.options[option]
        for option, declared in component.declared.items()
        if declared.shared
    }


def _serving(slot: SlotPlan) -> Iterator[tuple[str, str]]:
    """(kind, name) of the components that serve a slot's segments."""
    named = (
        ("adapter", slot.adapter),
        ("head", slot.head),
        ("criterion", slot.criterion),
        ("generator", slot.generator),
        ("corruption", slot.corruption),
    )
    return ((kind, name) for kind, name in named if name)
