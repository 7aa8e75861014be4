"""Preprocessors that build on others: what these are fitted on, and how they are reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ofacore.ground.artifacts import Artifact
from ofacore.plan import TaskPlan
from ofacore.plan.attributes import with_defaults
from ofacore.plugin import PluginError, Registry
from ofacore.plugin.blame import Blame, who
from ofacore.protocols import (
    BuiltOnOthers,
    Neighbour,
    Neighbours,
    Options,
    Preprocessor,
    RowError,
    Side,
    SlotPlan,
)

_SIDES: tuple[Side, ...] = ("source", "target")
ColumnValue = tuple[str, str, Any]
"""(task, column, value); plain text has no column."""


class Bound(Protocol):
    """Where fitted and bound preprocessors come from."""

    artifacts: dict[str, Artifact]

    def preprocessor(self, name: str) -> Preprocessor: ...


def check_built_on(name: str, built: Preprocessor, registry: Registry) -> None:
    """What a component says of other preprocessors is what its class can do.

    Raises:
        PluginError: It names others and cannot reach them, or reaches them and names none.
    """
    named, reaches = (
        registry.component("preprocessor", name).builds_on,
        isinstance(built, BuiltOnOthers),
    )
    owner = who(registry, "preprocessor", name)
    if named and not reaches:
        raise PluginError(
            f"{owner} names builds_on={named}, but it has no bind_with and handed_on: write both, or neither"
        )
    if reaches and not named:
        raise PluginError(
            f"{owner} has bind_with, but its Component names nothing in builds_on: name what it reaches"
        )


def neighbours(name: str, registry: Registry, bound: Bound) -> Neighbours:
    """What a preprocessor reaches."""
    others = registry.component("preprocessor", name).builds_on
    return Neighbours(
        who(registry, "preprocessor", name),
        {other: _neighbour(other, registry, bound) for other in others},
    )


def _neighbour(name: str, registry: Registry, bound: Bound) -> Neighbour:
    built = bound.preprocessor(name)
    blocks = tuple(block.name for block in built.blocks(bound.artifacts.get(name)))
    return Neighbour(
        name, built, blocks, _defaults(name, registry), who(registry, "preprocessor", name)
    )


def _defaults(name: str, registry: Registry) -> dict[Side, Options]:
    """Side -> default attributes of the slot type that a preprocessor serves unless something else is said."""
    served = [slot for slot in registry.slots().values() if slot.preprocessor == name]
    if not served:
        return {}
    return {side: with_defaults({}, side, served[0]) for side in _SIDES}


@dataclass(frozen=True)
class FittingValues:
    """What each preprocessor is fitted on: values of its own slots, and what others hand on to it."""

    made: Mapping[str, Preprocessor]
    plans: Mapping[str, TaskPlan]
    registry: Registry
    own: Callable[[str], Iterator[ColumnValue]]
    """Preprocessor -> values of its own slots."""

    def with_columns(self, name: str) -> Iterator[ColumnValue]:
        """Values with their columns, those of one task and column together."""
        yield from self.own(name)
        for task, slot, value in self._handed_on(name):
            yield task, slot.name, value

    def with_slots(self, name: str) -> Iterator[tuple[SlotPlan, Any]]:
        """Values with the first slot that reads them; plain text with its own."""
        for _, slot, value in self.with_tasks(name):
            yield slot, value

    def with_tasks(self, name: str) -> Iterator[tuple[str, SlotPlan, Any]]:
        """As `with_slots`, with the task in front."""
        slots: dict[tuple[str, str, str | None], SlotPlan] = {}
        for task, plan in self.plans.items():
            for slot in plan.slots():
                if slot.preprocessor == name:
                    column = slot.name if slot.plain is None else ""
                    slots.setdefault((task, column, slot.plain), slot)
        for task, column, value in self.own(name):
            yield task, slots[task, column, None if column else value], value
        yield from self._handed_on(name)

    def _handed_on(self, name: str) -> Iterator[tuple[str, SlotPlan, Any]]:
        """What the preprocessors that build on this one make of their own values."""
        for giver, built in self.made.items():
            if name not in self.registry.component(
                "preprocessor", giver
            ).builds_on or not isinstance(built, BuiltOnOthers):
                continue
            shared = Neighbour(name, self.made[name], (), _defaults(name, self.registry))
            for task, slot, value in self.with_tasks(giver):
                for part in _given(
                    name, built, value, slot, who(self.registry, "preprocessor", giver)
                ):
                    yield task, shared.slot(slot), part


def _given(name: str, built: BuiltOnOthers, value: Any, slot: SlotPlan, owner: str) -> list[Any]:
    try:
        with Blame(owner, f"handed_on, slot '{slot.name}'"):
            return list(built.handed_on(name, value, slot))
    except RowError:
        return []
