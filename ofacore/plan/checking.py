"""The whole check of a configuration against what is installed, before any work. No torch, no data read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ofacore.config.errors import NOWHERE, ConfigError, Place, Problem
from ofacore.config.schema import RunConfig, TaskConfig
from ofacore.instruction import InstructionError
from ofacore.plan.configured import plan_task
from ofacore.plan.generation import generation_options, length_problem
from ofacore.plan.lookups import option_problems, unknown
from ofacore.plan.task_checking import TaskCheck
from ofacore.plugin import PluginError, Registry, suggest
from ofacore.protocols import GenerationOptions

Columns = Callable[[str, str], Iterable[str]]
"""(task, split) -> names of the columns of that data; none where they are unknown."""
_OPTIONS = {"adapters": "adapter", "heads_options": "head", "preprocessors": "preprocessor"}


def check(
    config: RunConfig, registry: Registry, *, places: Mapping[str, Place] | None = None, columns: Columns | None = None
) -> list[Problem]:
    """Everything that is wrong with a run, all at once.

    Instructions are parsed and planned; presets, metrics, criteria, schedules, aggregators, backbones, trackers and the
    options of components are looked up; files are looked for.

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
    """Options of generation that contradict each other once those of run, preset and task are put together."""
    for name, task in config.tasks.items():
        known = not task.preset or not unknown("", "preset", task.preset, registry)
        preset = registry.preset(task.preset).generation if task.preset and known else {}
        try:
            options = generation_options(config.generation.model_dump(), preset, task.generation.model_dump())
        except ConfigError as error:
            yield from (Problem(f"tasks.{name}.{problem.path}", problem.message) for problem in error.problems)
            continue
        for message in _lengths(name, task, registry, options):
            yield Problem(f"tasks.{name}.generation", message)


def _lengths(name: str, task: TaskConfig, registry: Registry, options: GenerationOptions) -> list[str]:
    """What is wrong with the lengths of a task's slots; nothing where it cannot be planned, which is told elsewhere."""
    try:
        plan = plan_task(name, task, registry)
    except (InstructionError, PluginError):
        return []
    found = [length_problem(slot, options) for template in plan.templates for slot in template.targets()]
    return list(dict.fromkeys(filter(None, found)))


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
    for kind in ("schedule", "aggregator"):
        chosen, path = getattr(config.train, kind), f"train.{kind}"
        wrong = unknown(f"{path}.name", kind, chosen.name, registry)
        yield from wrong or option_problems(f"{path}.options", kind, chosen.name, chosen.options, registry)
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
