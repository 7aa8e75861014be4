"""What a set of plans asks of the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ofacore.model.needs import ModelNeeds, Part
from ofacore.plan import TaskPlan
from ofacore.protocols import Options


class OptionSource(Protocol):
    """Where options of components come from."""

    def adapter_options(self, name: str) -> Options: ...
    def head_options(self, name: str) -> Options: ...
    def criterion_options(self, name: str) -> Options: ...


def model_needs(plans: Iterable[TaskPlan], options: OptionSource) -> ModelNeeds:
    """Adapters, heads, criteria, tasks and slots in the order in which tasks joined."""
    plans = list(plans)
    slots = [slot for plan in plans for slot in plan.slots()]
    contrast = any(template.contrast for plan in plans for template in plan.templates)
    heads = dict.fromkeys([*(s.head for s in slots if s.loss), *(["embedding"] if contrast else [])])
    criteria = dict.fromkeys([*(s.criterion for s in slots if s.loss), *(["contrastive"] if contrast else [])])
    adapters = dict.fromkeys(slot.adapter for slot in slots)
    return ModelNeeds(
        adapters=tuple(Part(name, options.adapter_options(name)) for name in adapters),
        heads=tuple(Part(name, options.head_options(name)) for name in heads),
        criteria=tuple(Part(name, options.criterion_options(name)) for name in criteria),
        tasks=tuple(plan.name for plan in plans),
        sides={name: frozenset(slot.side for slot in slots if slot.adapter == name) for name in adapters},
        slots=tuple(dict.fromkeys(f"{plan.name}/{slot.name}" for plan in plans for slot in plan.slots())),
    )
