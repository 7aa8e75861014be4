"""The plans of a whole run: made once, and handed from room to room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ofacore.config.schema import RunConfig
from ofacore.instruction import InstructionError
from ofacore.plan.configured import plan_task
from ofacore.plan.types import TaskPlan
from ofacore.plugin import PluginError, Registry

PlanFailure = InstructionError | PluginError


@dataclass(frozen=True)
class PlannedRun:
    """A configuration, the plugins it is for, and the plan of every task."""

    config: RunConfig
    registry: Registry
    plans: Mapping[str, TaskPlan]

    @classmethod
    def of(cls, config: RunConfig, registry: Registry) -> PlannedRun:
        """Plan every task.

        Raises:
            InstructionError: An instruction cannot be planned.
            PluginError: Something that is not installed is named.
        """
        plans = {name: plan_task(name, task, registry) for name, task in config.tasks.items()}
        return cls(config, registry, plans)

    def only(self, names: Iterable[str]) -> PlannedRun:
        """The run with these of its tasks alone."""
        kept = set(names)
        tasks = {name: task for name, task in self.config.tasks.items() if name in kept}
        plans = {name: plan for name, plan in self.plans.items() if name in kept}
        return PlannedRun(self.config.model_copy(update={"tasks": tasks}), self.registry, plans)


def plan_each(config: RunConfig, registry: Registry) -> dict[str, TaskPlan | PlanFailure]:
    """Task -> its plan, or why it cannot be planned."""
    attempts: dict[str, TaskPlan | PlanFailure] = {}
    for name, task in config.tasks.items():
        try:
            attempts[name] = plan_task(name, task, registry)
        except (InstructionError, PluginError) as error:
            attempts[name] = error
    return attempts


def planned_of(attempts: Mapping[str, TaskPlan | PlanFailure]) -> dict[str, TaskPlan]:
    """The plans among them."""
    return {name: plan for name, plan in attempts.items() if isinstance(plan, TaskPlan)}
