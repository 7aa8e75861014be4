"""The configuration of a model that tasks join: what is new over what it was made with, and what must not differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ofacore.config.component_options import LOOP_KINDS, OLDER, component_options
from ofacore.config.preset_options import with_preset_options
from ofacore.config.problems import ConfigError, Problem
from ofacore.config.schema import RunConfig
from ofacore.config.section import Section
from ofacore.config.sizes import resolve
from ofacore.config.task_section import TaskConfig
from ofacore.config.train_section import TrainConfig
from ofacore.ground.excerpts import excerpt
from ofacore.plugin import suggest
from ofacore.setup.assembly import Assembly

_SIZES = ("hidden", "ffn", "heads", "encoder_layers", "decoder_layers")
_COMPONENTS = frozenset({*OLDER, "positions_options"})
"""Keys of the model section that are options of components."""
_SMALL_PARTS = {"lora": "rank", "prefix": "length"}
"""Keys of the model section that add to a model -> what is 0 in one that has nothing of the kind."""
_OF_TASKS = ("schedule", "aggregator", "teachers")
"""Keys of the train section that may name tasks: a run with other tasks does not inherit them."""
_LENGTHS = frozenset({"steps", "epochs"})
"""Keys of the train section of which one says how long a run is."""
_OF_KEPT = frozenset({"data", "weight", "loss_weight"})
"""Keys of a kept task that may be set anew."""


def kept_tasks(assembly: Assembly, given: RunConfig) -> tuple[str, ...]:
    """Tasks of the model that go on being trained.

    Raises:
        ConfigError: ``keep`` names a task that the model has not.
    """
    known = tuple(assembly.plans)
    if given.keep == "all":
        return known
    problems = []
    for name in given.keep:
        if name not in known:
            hint = suggest(name, known) or f"there are {', '.join(known)}; or keep: all"
            problems.append(Problem("keep", f"the model has no task '{name}'", hint=hint))
    if problems:
        raise ConfigError(problems)
    return tuple(name for name in known if name in given.keep)


def joined_config(assembly: Assembly, given: RunConfig, kept: Sequence[str]) -> RunConfig:
    """The model's configuration with what a new one adds.

    The new tasks join the old ones. The train section is the model's where the new one says nothing; layout, folder
    and name are those of the new one. Options of generation for all tasks go to the new tasks alone.

    Args:
        assembly: What the model was made with.
        given: What is new; of the model section it may say what the model has, and nothing else.
        kept: Tasks of the model that go on being trained.

    Raises:
        ConfigError: It asks for another model; every difference is told with both sides.
    """
    problems = [
        *_model_problems(assembly, given),
        *_option_problems(assembly, given),
        *_task_problems(assembly, given, kept),
    ]
    if problems:
        raise ConfigError(problems)
    before = assembly.config
    options = {f"{kind}/{name}": v for (kind, name), v in component_options(given).items()}
    return before.model_copy(
        update={
            "tasks": {**before.tasks, **_tasks(before, given)},
            "options": {**before.options, **_over(before.options, options)},
            "train": _train(before, given),
            "plugins": given.plugins.model_copy(
                update={"prefer": {**before.plugins.prefer, **given.plugins.prefer}}
            ),
            "model": before.model.model_copy(update=added_parts(before, given)),
            "parallel": given.parallel,
            "out": given.out,
            "name": given.name,
        }
    )


def added_parts(before: RunConfig, given: RunConfig) -> dict[str, Section]:
    """Low-rank updates and prefixes that a model gets which has none: key of the model section -> what is asked."""
    return {
        key: getattr(given.model, key)
        for key, size in _SMALL_PARTS.items()
        if key in given.model.model_fields_set and not getattr(getattr(before.model, key), size)
    }


def _tasks(before: RunConfig, given: RunConfig) -> dict[str, TaskConfig]:
    found = {}
    for name, task in given.tasks.items():
        if name in before.tasks:
            found[name] = _set_anew(before.tasks[name], task)
        else:
            wide = {**given.generation, **task.generation}
            found[name] = task.model_copy(update={"generation": wide}) if wide else task
    return found


def _set_anew(before: TaskConfig, given: TaskConfig) -> TaskConfig:
    """A kept task with what is said of it; of its data, too, what is not said stays."""
    own = {key: getattr(given, key) for key in given.model_fields_set}
    if "data" in own:
        asked = {key: getattr(given.data, key) for key in given.data.model_fields_set}
        own["data"] = before.data.model_copy(update=asked)
    return before.model_copy(update=own)


def _train(before: RunConfig, given: RunConfig) -> TrainConfig:
    inherited = before.train.model_dump(exclude_unset=True, exclude=set(_OF_TASKS))
    checkpoint = inherited.get("checkpoint", {})
    for key in ("best", "higher_is_better"):
        checkpoint.pop(key, None)
    asked = given.train.model_dump(exclude_unset=True)
    if asked.keys() & _LENGTHS:
        inherited = {key: value for key, value in inherited.items() if key not in _LENGTHS}
    return TrainConfig.model_validate(_over(inherited, asked))


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings, the second over the first."""
    found = dict(below)
    for key, value in above.items():
        other = found.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            found[key] = _over(other, value)
        else:
            found[key] = value
    return found


def _model_problems(assembly: Assembly, given: RunConfig) -> Iterator[Problem]:
    own, sizes = with_preset_options(assembly.config.model), resolve(assembly.config.model)
    added = added_parts(assembly.config, given)
    for key in sorted(given.model.model_fields_set - _COMPONENTS - set(added)):
        asked = getattr(given.model, key)
        has = getattr(sizes, key) if key in _SIZES else getattr(own, key)
        if asked != has and not (key in _SIZES and asked is None):
            yield _differs(f"model.{key}", asked, has)


def _option_problems(assembly: Assembly, given: RunConfig) -> Iterator[Problem]:
    """Options of what the model is made of stay as they are: tokenizers and tables would no longer fit."""
    used = assembly.state()["components"]
    for (kind, name), options in component_options(given).items():
        if kind in LOOP_KINDS or f"{kind}/{name}" not in used:
            continue
        has = assembly.registry.component(kind, name).options
        for option, asked in options.items():
            if option in has and _plain(asked) != _plain(has[option]):
                yield _differs(f"options.{kind}/{name}.{option}", asked, has[option])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _differs(path: str, asked: Any, has: Any) -> Problem:
    message = f"found {excerpt(asked)}, but the model that this starts from has {excerpt(has)}"
    return Problem(path, message, hint="leave the key out, or train a new model without --from")


def _task_problems(assembly: Assembly, given: RunConfig, kept: Sequence[str]) -> Iterator[Problem]:
    if not any(name not in assembly.plans for name in given.tasks) and not kept:
        hint = "name one, or keep some of the model's own"
        yield Problem("tasks", "there is no task to train", hint=hint)
    for name, task in given.tasks.items():
        if name not in assembly.plans:
            continue
        path = f"tasks.{name}"
        if name not in kept:
            hint = f"call it otherwise, or go on training the model's with keep: [{name}]"
            yield Problem(path, "the model has a task of that name already", hint=hint)
            continue
        for key in sorted(task.model_fields_set - _OF_KEPT):
            if getattr(task, key) != getattr(assembly.config.tasks[name], key):
                hint = f"only {', '.join(sorted(_OF_KEPT))} of a kept task may be set"
                yield Problem(f"{path}.{key}", "is part of the model", hint=hint)
