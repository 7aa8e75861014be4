"""The whole check of a configuration against what is installed, before any work. No torch, no data read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ofacore.config.component_options import (
    LOOP_KINDS,
    GivenOptions,
    component_options,
    contradictions,
    given_options,
    table_entries,
)
from ofacore.config.preset_options import with_preset_options
from ofacore.config.problems import NOWHERE, ConfigError, Place, Problem
from ofacore.config.schema import RunConfig
from ofacore.ground.excerpts import excerpt
from ofacore.plan.generation import generation_of, misfits, target_slots, unknown_options, untaken
from ofacore.plan.lookups import option_problems, unknown, unknown_component
from ofacore.plan.planned_run import PlanFailure, plan_each, planned_of
from ofacore.plan.task_checking import TaskCheck
from ofacore.plan.types import TaskPlan
from ofacore.plugin import Registry, suggest

Columns = Callable[[str, str], Iterable[str]]
"""(task, split) -> names of the columns of that data; none where they are unknown."""


def check(
    config: RunConfig,
    registry: Registry,
    *,
    places: Mapping[str, Place] | None = None,
    columns: Columns | None = None,
    attempts: Mapping[str, TaskPlan | PlanFailure] | None = None,
) -> list[Problem]:
    """Everything that is wrong with a run, all at once.

    Instructions are parsed and planned; presets, metrics, criteria, schedules, aggregators, backbones, trackers and the
    options of components are looked up; files are looked for.

    Args:
        config: A configuration that fits the schema.
        registry: What is installed.
        places: Where values were written (`ofacore.config.read`), for the report.
        columns: Tells the columns of a task's data; it is asked only where all files exist.
        attempts: What `plan_each` found; default: the tasks are planned here.

    Returns:
        The problems, in the order of the configuration; none: the run can start.
    """
    if attempts is None:
        attempts = plan_each(config, registry)
    found = [
        *_tasks(config, registry, attempts, columns),
        *_generation(config, registry, planned_of(attempts)),
    ]
    found += [
        *_model(config, registry),
        *_options(config, registry, places or {}),
        *_train(config, registry),
    ]
    found += _prefer(config, registry)
    return [_placed(problem, places or {}) for problem in found]


def _tasks(
    config: RunConfig,
    registry: Registry,
    attempts: Mapping[str, TaskPlan | PlanFailure],
    columns: Columns | None,
) -> Iterator[Problem]:
    if not config.tasks:
        yield Problem("tasks", "there is no task", hint="name one, or take 'starter'")
    for name, task in config.tasks.items():
        yield from TaskCheck(name, task, registry, attempts[name], columns).problems()


def _generation(
    config: RunConfig, registry: Registry, planned: Mapping[str, TaskPlan]
) -> Iterator[Problem]:
    """Options that nobody takes, values that are not allowed, and what contradicts each other once put together."""
    used = [slot for plan in planned.values() for slot in target_slots(plan)]
    wide = unknown_options("generation", config.generation, registry)
    wide += misfits("generation", config.generation, used, registry)
    yield from wide
    if not wide and not any(_given(given, registry) for given in given_options(config)):
        registry = registry.pinned(component_options(config))
    for name, plan in planned.items():
        given, slots, path = (
            config.tasks[name].generation,
            target_slots(plan),
            f"tasks.{name}.generation",
        )
        own = untaken(path, given, slots, registry, f"'{name}'") + misfits(
            path, given, slots, registry
        )
        yield from own or ([] if wide else _together(name, config, plan, registry))


def _together(
    name: str, config: RunConfig, plan: TaskPlan, registry: Registry
) -> Iterator[Problem]:
    try:
        generation_of(target_slots(plan), registry, config.generation, plan.generation)
    except ConfigError as error:
        yield from (
            replace(problem, path=f"tasks.{name}.{problem.path}") for problem in error.problems
        )


def _model(config: RunConfig, registry: Registry) -> Iterator[Problem]:
    model = config.model
    yield from unknown("model.backbone", "backbone", model.backbone, registry)
    yield from unknown(
        "model.positions", "positions", with_preset_options(model).positions, registry
    )
    if model.experts != "none":
        yield from unknown("model.experts", "router", model.experts, registry)


def _options(
    config: RunConfig, registry: Registry, places: Mapping[str, Place]
) -> Iterator[Problem]:
    """The table of options and its older spellings: components, options, values, contradictions."""
    for given in given_options(config):
        yield from _given(given, registry)
    for clash in contradictions(config):
        older = place_of(clash.older_path, places)
        where = f" ({older})" if str(older) else ""
        message = f"found {excerpt(clash.value)}, but {clash.older_path}{where} says {excerpt(clash.older_value)}"
        yield Problem(
            clash.path, message, hint=f"keep one; {clash.older_path} is the older spelling"
        )


def check_loop_options(table: Mapping[str, Mapping[str, Any]], registry: Registry) -> list[Problem]:
    """What is wrong with options, ``kind/name`` -> options, that are given to a finished model for training on."""
    found: list[Problem] = []
    for given in table_entries(table):
        wrong = _given(given, registry)
        if not wrong and given.kind not in LOOP_KINDS:
            hint = f"only those of {' and '.join(sorted(LOOP_KINDS))} may change"
            wrong = [
                Problem(given.path, f"{given.kind} '{given.name}' is part of the model", hint=hint)
            ]
        found += wrong
    return found


def _given(given: GivenOptions, registry: Registry) -> list[Problem]:
    wrong = unknown_component(given.path, given.kind, given.name, registry)
    return wrong or option_problems(given.path, given.kind, given.name, given.options, registry)


def _train(config: RunConfig, registry: Registry) -> Iterator[Problem]:
    for kind in ("schedule", "aggregator"):
        chosen, path = getattr(config.train, kind), f"train.{kind}"
        wrong = unknown(f"{path}.name", kind, chosen.name, registry)
        yield from wrong or option_problems(
            f"{path}.options", kind, chosen.name, chosen.options, registry
        )
    for number, tracker in enumerate(config.train.trackers):
        yield from unknown(f"train.trackers.{number}", "tracker", tracker, registry)


def _prefer(config: RunConfig, registry: Registry) -> Iterator[Problem]:
    installed = sorted({row.distribution for row in registry.rows})
    for name, distribution in config.plugins.prefer.items():
        if distribution not in installed:
            hint = suggest(distribution, installed) or f"installed: {', '.join(installed)}"
            yield Problem(
                f"plugins.prefer.{name}",
                f"no plugin comes from distribution '{distribution}'",
                hint=hint,
            )


def place_of(path: str, places: Mapping[str, Place]) -> Place:
    """Where the value at a key path was written, or the nearest section around it that was."""
    parts = path.split(".")
    outward = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((places[known] for known in outward if known in places), NOWHERE)


def _placed(problem: Problem, places: Mapping[str, Place]) -> Problem:
    return Problem(problem.path, problem.message, place_of(problem.path, places), problem.hint)
