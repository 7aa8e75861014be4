"""The options that the components of a plan, or of a whole run, end up with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ofacore.config.component_options import component_options
from ofacore.config.schema import RunConfig
from ofacore.plan.planned_run import plan_each, planned_of
from ofacore.plan.types import TaskPlan
from ofacore.plugin import Registry

_READING = ("preprocessor", "adapter")
_LEARNING = ("head", "criterion", "generator", "corruption")


def options_of_plan(plan: TaskPlan, registry: Registry) -> dict[str, dict[str, Any]]:
    """``kind/name`` -> options of every component that a plan uses and that takes some, as the registry has them."""
    return _with_options(components_of(plan, used=True), registry)


def options_of_run(config: RunConfig, registry: Registry) -> dict[str, dict[str, Any]]:
    """As `options_of_plan`, of everything that a run names, with what its configuration sets.

    Components that are not installed, and tasks that cannot be planned, are left out; so is a label smoothing that
    the training section decides.
    """
    given = component_options(config)
    found = _with_options([*_of_run(config, registry), *given], registry.pinned(given))
    for key, options in found.items():
        kind, _, name = key.partition("/")
        if kind == "criterion" and "label_smoothing" not in given.get((kind, name), {}):
            options.pop("label_smoothing", None)
    return {key: options for key, options in found.items() if options}


def components_of(plan: TaskPlan, *, used: bool = False) -> Iterator[tuple[str, str]]:
    """(kind, name) of every component that a plan names, with repetition; a slot without one has an empty name.

    Args:
        plan: Of a task.
        used: Without those for learning of slots that are not learned.
    """
    for slot in plan.slots():
        learned = slot.loss or bool(slot.repeat)
        kinds = _READING if used and not learned else (*_READING, *_LEARNING)
        yield from ((kind, getattr(slot, kind)) for kind in kinds)
    for loss in plan.all_losses():
        yield "criterion", loss.criterion
        yield "head", loss.head
    yield from (("metric", use.metric) for use in plan.metrics)
    yield from (("transform", name) for names in plan.transforms.values() for name in names)


def _of_run(config: RunConfig, registry: Registry) -> Iterator[tuple[str, str]]:
    for plan in planned_of(plan_each(config, registry)).values():
        yield from components_of(plan, used=True)
    yield "positions", config.model.positions
    yield "backbone", config.model.backbone
    yield "router", config.model.experts
    yield "schedule", config.train.schedule.name
    yield from (("tracker", name) for name in config.train.trackers)


def _with_options(
    named: Iterable[tuple[str, str]], registry: Registry
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for kind, name in dict.fromkeys(named):
        if name in registry.names(kind) and (options := registry.component(kind, name).options):
            found[f"{kind}/{name}"] = dict(options)
    return found
