"""What a set of plans asks of the model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ofacore.instruction import Slot
from ofacore.model.item_needs import ModelNeeds, Part
from ofacore.plan import TaskPlan, criterion_key
from ofacore.protocols import Options, Side, SlotPlan


class OptionSource(Protocol):
    """Where options of components come from."""

    def adapter_options(self, name: str) -> Options: ...
    def head_options(self, name: str) -> Options: ...
    def criterion_options(self, name: str) -> Options: ...
    def with_loss_options(self, plan: TaskPlan) -> TaskPlan: ...
    def attention_layers(self, name: str, options: Options) -> tuple[int, ...]: ...


def model_needs(plans: Iterable[TaskPlan], options: OptionSource) -> ModelNeeds:
    """Adapters, heads, criteria, tasks and slots in the order in which tasks joined."""
    plans = [options.with_loss_options(plan) for plan in plans]
    slots = [slot for plan in plans for slot in plan.slots()]
    adapters = dict.fromkeys(slot.adapter for slot in slots)
    criteria = _criteria(plans, options)
    layers = {
        layer for part in criteria for layer in options.attention_layers(part.name, part.options)
    }
    names = dict.fromkeys(f"{plan.name}/{slot.name}" for plan in plans for slot in plan.slots())
    return ModelNeeds(
        adapters=tuple(Part(name, options.adapter_options(name)) for name in adapters),
        heads=tuple(Part(name, options.head_options(name)) for name in _heads(plans)),
        criteria=criteria,
        tasks=tuple(plan.name for plan in plans),
        separator=any(_may_part(plan) for plan in plans),
        sides={name: _sides(name, slots) for name in adapters},
        slots=tuple(names),
        attention_layers=tuple(sorted(layers)),
    )


def _sides(adapter: str, slots: Iterable[SlotPlan]) -> frozenset[Side]:
    """Where the slots of an adapter stand."""
    return frozenset(slot.side for slot in slots if slot.adapter == adapter)


def _may_part(plan: TaskPlan) -> bool:
    """Whether a target of a task is more than one slot."""
    targets = [template.tree.target for template in plan.templates]
    return any(len(each) > 1 or not isinstance(each[0], Slot) for each in targets if each)


def own_criteria(plan: TaskPlan) -> list[str]:
    """Criteria of the target slots themselves, where the task declares no losses."""
    if plan.losses:
        return []
    return list(dict.fromkeys(slot.criterion for slot in plan.slots() if _is_learned(slot)))


def _is_learned(slot: SlotPlan) -> bool:
    """Whether it carries loss; plain text of a target's repeat carries the choice of another turn."""
    chooses = slot.side == "target" and slot.plain is not None and bool(slot.repeat)
    return slot.loss or (chooses and bool(slot.head and slot.criterion))


def _heads(plans: Iterable[TaskPlan]) -> list[str]:
    """Heads of target slots, then those that losses name."""
    plans = list(plans)
    names = [slot.head for plan in plans for slot in plan.slots() if _is_learned(slot)]
    names += [loss.head for plan in plans for loss in plan.all_losses() if loss.head]
    return list(dict.fromkeys(names))


def _criteria(plans: Iterable[TaskPlan], options: OptionSource) -> tuple[Part, ...]:
    """Each criterion once for each set of options; those of target slots first."""
    plans = list(plans)
    parts: dict[str, Part] = {}
    for name in dict.fromkeys(name for plan in plans for name in own_criteria(plan)):
        given = options.criterion_options(name)
        parts[criterion_key(name, given)] = Part(name, given)
    for loss in (loss for plan in plans for loss in plan.all_losses()):
        parts.setdefault(loss.key, Part(loss.criterion, loss.options))
    return tuple(parts.values())
