"""What the criteria of a plan ask of the model besides hidden states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ofacore.plan.types import TaskPlan
from ofacore.plugin import Registry

_CORE = "ofacore"
_LAST = (-1,)


def attention_needs(plan: TaskPlan, registry: Registry) -> dict[str, tuple[int, ...]]:
    """Criterion -> decoder layers whose cross-attention it reads, from 0; -1 is the last.

    Criteria say so themselves, so those of plugins are imported; the core's own read none.

    Raises:
        PluginError: A criterion cannot be imported or built.
    """
    used: list[tuple[str, Mapping[str, Any]]] = [
        (loss.criterion, loss.options) for loss in plan.all_losses()
    ]
    if not plan.losses:
        used += [(slot.criterion, {}) for slot in plan.slots() if slot.loss and slot.criterion]
    found: dict[str, tuple[int, ...]] = {}
    for name, options in used:
        if (
            registry.owner("criterion", name) == _CORE
            or "attention" not in registry.load("criterion", name).needs
        ):
            continue
        wanted: Sequence[int] = getattr(
            registry.make("criterion", name, options), "attention_layers", _LAST
        )
        found[name] = tuple(dict.fromkeys((*found.get(name, ()), *wanted)))
    return found


def told(name: str, layers: Sequence[int]) -> str:
    """One need in words."""
    numbers = ", ".join("the last" if layer == -1 else str(layer) for layer in layers)
    what = "layer" if len(layers) == 1 else "layers"
    return f"criterion {name} reads the attention of decoder {what} {numbers}; pipeline stages refuse it"
