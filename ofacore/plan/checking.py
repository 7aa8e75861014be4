"""The whole check of a configuration against what is installed, before any work. No torch, no data read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from ofacore.config.errors import NOWHERE, ConfigError, Place, Problem
from ofacore.config.schema import RunConfig
from ofacore.instruction import InstructionError
from ofacore.plan.configured import plan_task
from ofacore.plan.generation import generation_of, misfits, target_slots, unknown_options, untaken
from ofacore.plan.lookups import option_problems, unknown
from ofacore.plan.task_checking import TaskCheck
from ofacore.plan.types import TaskPlan
from ofacore.plugin import PluginError, Registry, suggest

Columns = Callable[[str, str], Iterable[str]]
"""(task, split) -> names of the columns of that data; none where they are unknown."""
_OPTIONS = {"adapters": "adapter", "heads_options": "head", "preprocessors": "preprocessor"}


def check(
    config: RunConfig, registry: Registry, *, places: Mapping[str, Place] | None = None, columns: Columns | None = None
) -> list[Problem]:
    """Everything that is wrong with a run, all at once.

    Instructions are parsed and planned; presets, metrics, criteria, schedules, backbones, trackers and the options of
    components are looked up; files are looked for.

    Args:
        config: A configuration that fits the schema.
        registry: What is installed.
        places: Where values were written (`ofacore.config.read`), for the report.
        columns: Tells the columns of a task's data; it is asked only where all files exist.

    Returns:
        The problems, in the order of the configuration; none: the run can start.
    """
    found = [*_tasks(config, registry, columns), *_generation(config, registry)]
    found += [*_model(config, registry), *_train(config, registry)]
    found += _prefer(config, registry)
    return [_placed(problem, places or {}) for problem in found]


def _tasks(config: RunConfig, registry: Registry, columns: Columns | None) -> Iterator[Problem]:
    if not config.tasks:
        yield Problem("tasks", "there is no task", hint="name one, or take 'starter'")
    for name, task in config.tasks.items():
        yield from TaskCheck(name, task, registry, columns).problems()


def _generation(config: RunConfig, registry: Registry) -> Iterator[Problem]:
    """Options that nobody takes, values that are not allowed, and what contradicts each other once put together."""
    planned = dict(_planned(config, registry))
    used = [slot for plan in planned.values() for slot in target_slots(plan)]
    wide = unknown_options("generation", config.generation, registry)
    wide += misfits("generation", config.generation, used, registry)
    yield from wide
    for name, plan in planned.items():
        given, slots, path = config.tasks[name].generation, target_slots(plan), f"tasks.{name}.generation"
        own = untaken(path, given, slots, registry, f"'{name}'") + misfits(path, given, slots, registry)
        yield from own or ([] if wide else _together(name, config, plan, registry))


def _together(name: str, config: RunConfig, plan: TaskPlan, registry: Registry) -> Iterator[Problem]:
    try:
        generation_of(target_slots(plan), registry, config.generation, plan.generation)
    except ConfigError as error:
        yield from (replace(problem, path=f"tasks.{name}.{problem.path}") for problem in error.problems)


def _planned(config: RunConfig, registry: Registry) -> Iterator[tuple[str, TaskPlan]]:
    """Tasks that can be planned; what is wrong with others is told elsewhere."""
    for name, task in config.tasks.items():
        try:
            yield name, plan_task(name, task, registry)
        except (InstructionError, PluginError):
            continue


def _model(config: RunConfig, registry: Registry) -> Iterator[Problem]:
    model = config.model
    yield from unknown("model.backbone", "backbone", model.backbone, registry)
    yield from unknown("model.positions", "positions", model.positions, registry)
    if model.experts != "none":
        yield from unknown("model.experts", "router", model.experts, registry)
    for key, kind in _OPTIONS.items():
        for name, options in getattr(model, key).items():
            path = f"model.{key}.{name}"
            yield from unknown(path, kind, name, registry) or option_problems(path, kind, name, options, registry)


def _train(config: RunConfig, registry: Registry) -> Iterator[Problem]:
    schedule, path = config.train.schedule, "train.schedule"
    wrong = unknown(f"{path}.name", "schedule", schedule.name, registry)
    yield from wrong or option_problems(f"{path}.options", "schedule", schedule.name, schedule.options, registry)
    for number, tracker in enumerate(config.train.trackers):
        yield from unknown(f"train.trackers.{number}", "tracker", tracker, registry)


def _prefer(config: RunConfig, registry: Registry) -> Iterator[Problem]:
    installed = sorted({row.distribution for row in registry.rows})
    for name, distribution in config.plugins.prefer.items():
        if distribution not in installed:
            hint = suggest(distribution, installed) or f"installed: {', '.join(installed)}"
            yield Problem(f"plugins.prefer.{name}", f"no plugin comes from distribution '{distribution}'", hint=hint)


def _placed(problem: Problem, places: Mapping[str, Place]) -> Problem:
    parts = problem.path.split(".")
    outward = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    place = next((places[path] for path in outward if path in places), NOWHERE)
    return Problem(problem.path, problem.message, place, problem.hint)
