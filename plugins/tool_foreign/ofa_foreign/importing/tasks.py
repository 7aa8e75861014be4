"""What an imported model is for: its tasks, with the adapters that it has weights for, and its configuration."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ofa_foreign.formats import pooling_decoders
from ofa_foreign.formats.dialects import Dialect
from ofa_foreign.formats.ofasys_tasks import ForeignTask
from ofa_foreign.formats.reading import Foreign
from ofa_foreign.formats.settings import ReadSettings
from ofacore.checkpoint import CheckpointError
from ofacore.config.model_section import ModelConfig
from ofacore.config.problems import ConfigError
from ofacore.config.schema import RunConfig
from ofacore.config.task_section import TaskConfig
from ofacore.contract.foreign import ForeignAdapter, ForeignSettings
from ofacore.ground.errors import UserError
from ofacore.ground.printable import shortened
from ofacore.instruction import InstructionError, Slot, parse, split_templates
from ofacore.plan import TaskPlan, plan_task
from ofacore.plan.generation import generation_of, misfits, taken_by, target_slots
from ofacore.plan.planned_run import PlannedRun
from ofacore.plugin import Registry
from ofacore.protocols import ForeignConstants, SlotPlan, seen_as

Tasks = Mapping[str, Mapping[str, Any]]
"""Task -> keys of its configuration."""
_LONGEST_NAME = 100
TOKEN = "token"
"""The adapter whose adjacent slots are one run."""


def tasks_of(
    foreign: Foreign, dialect: Dialect, instructions: Sequence[str], registry: Registry
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Task -> keys of its configuration, and what of the checkpoint's own tasks cannot be used."""
    if instructions:
        names = ["imported", *(f"imported_{number}" for number in range(2, len(instructions) + 1))]
        given = dict(zip(names, instructions, strict=True))
        return {
            name: _asked(with_adapters(text, dialect.adapters, registry))
            for name, text in given.items()
        }, []
    found: dict[str, dict[str, Any]] = {}
    left_out: list[str] = []
    for name, task in foreign.tasks.items():
        try:
            chosen = with_adapters(task.instruction, dialect.adapters, registry)
            plan = plan_task(name, TaskConfig(instruction=chosen), registry)
            _check_weights(plan, dialect)
        except (UserError, InstructionError) as error:
            left_out.append(f"{name}: {_reason(error)}")
            continue
        search, problem = _search(task, dialect, plan, registry)
        own = {
            "generation": search,
            **({"decoder_plain_with_loss": True} if task.plain_with_loss else {}),
        }
        found[_free_word(name, found)] = {**_asked(chosen), **own}
        left_out += [f"{name}: {what}" for what in (*problem, *task.left_out)]
    if foreign.tasks and found:
        left_out.append("data, criteria and metrics of the tasks: a configuration gives them")
    usual = {name: _asked(text) for name, text in _usual_tasks(dialect, registry).items()}
    return found or usual, left_out


def _asked(instruction: str) -> dict[str, Any]:
    return {"instruction": instruction}


def _reason(error: Exception) -> str:
    """One line; the place in the instruction is of no use to who did not write it."""
    return error.message if isinstance(error, InstructionError) else str(error).splitlines()[0]


def _search(
    task: ForeignTask, dialect: Dialect, plan: TaskPlan, registry: Registry
) -> tuple[dict[str, Any], list[str]]:
    """How the task's answers are searched, as far as its generators can, and what is wrong with it."""
    slots = target_slots(plan)
    try:
        generation_of(slots, registry, dialect.generation, task.search)
    except ConfigError as error:
        return {}, [f"evaluation.generator_args: {error.problems[0].message}"]
    return taken_by(slots, registry, task.search), []


def _check_weights(plan: TaskPlan, dialect: Dialect) -> None:
    """Every slot's adapter has weights on its side.

    Raises:
        UserError: One has none.
    """
    for slot in plan.slots():
        if slot.adapter not in (
            dialect.adapters if slot.side == "source" else dialect.target_adapters
        ):
            raise UserError(
                f"[{slot.type}:{slot.name}]: no weights of adapter '{slot.adapter}' for the {slot.side}"
            )


def _usual_tasks(dialect: Dialect, registry: Registry) -> dict[str, str]:
    """Text to text, and with each further adapter for other projects' weights a slot of its plugin before the text."""
    plain = registry.plain_text_slot().name
    found = {"imported": f"[{plain}:source] -> [{plain}:target]"}
    for name in dialect.adapters:
        if not isinstance(adapter(registry, name), ForeignAdapter):
            continue
        for kind in registry.names("slot"):
            if registry.owner("slot", kind) != registry.owner("adapter", name):
                continue
            if not _is_tokens(kind, registry) and not _own_preprocessor(name, kind, registry):
                slot = f"[{kind}:{kind.lower()},adapter={name}]"
                found[f"imported_{name}"] = f"{slot} {found['imported']}"
    return found


def uses_of(plans: Iterable[TaskPlan]) -> dict[tuple[str, str], set[str]]:
    """(side, adapter) -> types of the slots that begin its runs, of all slots of all templates."""
    found: dict[tuple[str, str], set[str]] = {}
    for template in (template for plan in plans for template in plan.templates):
        before: SlotPlan | None = None
        for _, slot in sorted(template.slots.items()):
            place = (slot.side, slot.adapter)
            types = found.setdefault(place, set())
            if before is None or slot.adapter != TOKEN or (before.side, before.adapter) != place:
                types.add(slot.type)
            before = slot
    return found


def _free_word(name: str, taken: Collection[str]) -> str:
    """The name as one word that no other task has."""
    word = re.sub(r"\W", "_", name)[:_LONGEST_NAME] or "task"
    others = (f"{word}_{number}" for number in range(2, len(taken) + 3))
    return next(free for free in (word, *others) if free not in taken)


def with_adapters(instruction: str, available: Sequence[str], registry: Registry) -> str:
    """The instruction, where a slot would get an adapter without weights with the name of the one that has some.

    Args:
        instruction: One or several templates.
        available: Our adapters that the checkpoint has weights of.
        registry: What is installed.
    """
    return " ||| ".join(
        _with_adapters(part, available, registry) for part in split_templates(instruction)
    )


def _with_adapters(template: str, available: Sequence[str], registry: Registry) -> str:
    tree = parse(template)
    for slot in sorted(tree.slots(), key=lambda slot: -slot.end):
        chosen = _chosen(slot, available, registry)
        if chosen:
            template = f"{template[: slot.end - 1]},{chosen}{template[slot.end - 1 :]}"
    return template


def _is_tokens(slot_type: str, registry: Registry) -> bool:
    """Whether values of a slot type usually become tokens."""
    usual = registry.component("preprocessor", registry.slot(slot_type).preprocessor)
    return usual.uses.get("adapter") == TOKEN


def _own_preprocessor(adapter_name: str, slot_type: str, registry: Registry) -> str:
    """The preprocessor of the slot type's plugin that goes with an adapter, where that is not the type's usual one."""
    owner, usual = registry.owner("slot", slot_type), registry.slot(slot_type).preprocessor
    found = [
        name
        for name in registry.names("preprocessor")
        if registry.owner("preprocessor", name) == owner
        and registry.component("preprocessor", name).uses.get("adapter") == adapter_name
    ]
    return found[0] if len(found) == 1 and found[0] != usual else ""


def _chosen(slot: Slot, available: Sequence[str], registry: Registry) -> str:
    """The attribute that a slot lacks: of an adapter's name its preprocessor, else an adapter that has weights."""
    if slot.attribute("preprocess"):
        return ""
    named = slot.attribute("adapter") or slot.attribute("adaptor")
    if named is None:
        found = _adapter_of(slot, available, registry)
        return f"adapter={found}" if found else ""
    found = _own_preprocessor(str(named.value), slot.type, registry)
    return f"preprocess={found}" if found else ""


def _adapter_of(slot: Slot, available: Sequence[str], registry: Registry) -> str:
    """An adapter of the slot's own plugin that the checkpoint has and the slot would not get by itself, or nothing."""
    usual = registry.component("preprocessor", registry.slot(slot.type).preprocessor).uses.get(
        "adapter", ""
    )
    owner = registry.owner("slot", slot.type)
    known = [name for name in available if name in registry.names("adapter")]
    own = [name for name in known if registry.owner("adapter", name) == owner]
    return own[0] if usual not in available and len(own) == 1 else ""


def preprocessing(
    foreign: Foreign, tasks: Tasks, registry: Registry
) -> tuple[dict[str, Any], list[str]]:
    """Options of our preprocessors of the names that the checkpoint has settings for, and settings not taken."""
    found: dict[str, Any] = {}
    left_out = []
    plans = [
        plan_task(name, TaskConfig(instruction=task["instruction"]), registry)
        for name, task in tasks.items()
    ]
    used = {slot.preprocessor for plan in plans for slot in plan.slots()}
    for name in sorted(set(foreign.preprocessing) & set(registry.names("preprocessor"))):
        kind, settings = (
            registry.load("preprocessor", name),
            ReadSettings(foreign.preprocessing[name]),
        )
        if isinstance(kind, ForeignSettings):
            try:
                found[name] = dict(kind.foreign_settings(settings))
            except (UserError, TypeError, ValueError, OverflowError):
                settings.read.clear()
        fixed = {"is_active": True, **seen_as(ForeignConstants, kind).foreign_fixed}
        rest = settings.unread()
        unread = {
            key: v
            for key, v in rest.items()
            if v not in (None, "") and (key not in fixed or v != fixed[key])
        }
        if unread and name in used:
            shown = ", ".join(
                f"{key}={shortened(repr(value))}" for key, value in sorted(unread.items())
            )
            left_out.append(f"settings of preprocess.{name}: {shown}")
    return {name: options for name, options in found.items() if options}, left_out


def configuration(
    foreign: Foreign,
    dialect: Dialect,
    tasks: Tasks,
    experts: str,
    preprocessing: Mapping[str, Any],
    registry: Registry,
) -> RunConfig:
    """The run's configuration: the model's options as the checkpoint says, and its tasks without data.

    Raises:
        CheckpointError: A setting of the checkpoint has an impossible value.
    """
    try:
        config = _configuration(dialect, tasks, experts, preprocessing, registry)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        what = f"its settings make {name} {first['input']!r}: {first['msg'].lower()}"
        raise CheckpointError(foreign.path, what) from error
    plans = list(PlannedRun.of(config, registry).plans.values())
    slots = [slot for plan in plans for slot in target_slots(plan)]
    if wrong := misfits("generation", config.generation, slots, registry):
        raise CheckpointError(foreign.path, f"its settings make {wrong[0]}")
    return config


def _configuration(
    dialect: Dialect,
    tasks: Tasks,
    experts: str,
    preprocessing: Mapping[str, Any],
    registry: Registry,
) -> RunConfig:
    sizes = {key: value for key, value in dialect.model.items() if key != "adapters"}
    parts = {
        "adapter": dialect.model.get("adapters", {}),
        "head": {"token": {"whole": True}, **dialect.heads},
        "preprocessor": {**dialect.preprocessors, **preprocessing},
    }
    table = {
        f"{kind}/{name}": dict(options)
        for kind, named in parts.items()
        for name, options in named.items()
    }
    model = ModelConfig.model_validate({"experts": experts, **sizes})
    return RunConfig.model_validate(
        {
            "name": "imported",
            "tasks": {
                name: {**task, **_losses(task["instruction"], registry)}
                for name, task in tasks.items()
            },
            "model": model.model_dump(exclude_unset=True),
            "options": table,
            "generation": dict(dialect.generation),
            "train": {"optimizer": {"name": "adamw", "lr": 1e-5}},
        }
    )


def with_banned(
    config: RunConfig, banned: Sequence[Sequence[int]], ours: Sequence[int]
) -> RunConfig:
    """The configuration with sequences of foreign token ids that are never generated, in our ids.

    Args:
        config: The run's.
        banned: Rows of the foreign token table.
        ours: Our id of each row.
    """
    translated: list[tuple[int, ...]] = []
    for ids in banned:
        if all(0 <= row < len(ours) for row in ids):
            translated.append(tuple(ours[row] for row in ids))
    if not translated:
        return config
    generation = {**config.generation, "banned_tokens": tuple(translated)}
    return config.model_copy(update={"generation": generation})


def _losses(instruction: str, registry: Registry) -> dict[str, Any]:
    """Loss terms of a task whose target is told by the pooled source; any other has the usual ones."""
    slots = list(plan_task("imported", TaskConfig(instruction=instruction), registry).slots())
    pooled = [
        slot.name for slot in slots if slot.side == "target" and slot.head == pooling_decoders.HEAD
    ]
    source = [slot.name for slot in slots if slot.side == "source"]
    if not pooled or not source:
        return {}
    return {
        "losses": [{"criterion": "pooled_cross_entropy", "hidden": source[0], "labels": pooled[0]}]
    }


def adapter(registry: Registry, name: str) -> object:
    """Our adapter of that name, or None."""
    return registry.load("adapter", name) if name in registry.names("adapter") else None
