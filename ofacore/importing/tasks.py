"""What an imported model is for: its tasks, with the adapters that it has weights for, and its configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ofacore.checkpoint import CheckpointError
from ofacore.checkpoint.foreign import pooling_decoders
from ofacore.checkpoint.foreign.dialects import Dialect
from ofacore.checkpoint.foreign.reading import Foreign
from ofacore.config.schema import ModelConfig, RunConfig, TaskConfig
from ofacore.errors import UserError
from ofacore.instruction import Slot, parse, split_templates
from ofacore.plan import TaskPlan, plan_task
from ofacore.plugin import Registry
from ofacore.protocols import ForeignAdapter, ForeignSettings, SlotPlan

TOKEN = "token"
"""The adapter whose adjacent slots are one run."""


def tasks_of(
    foreign: Foreign, dialect: Dialect, instructions: Sequence[str], registry: Registry
) -> tuple[dict[str, str], list[str]]:
    """Task -> instruction, and what of the checkpoint's own instructions cannot be used."""
    if instructions:
        names = ["imported", *(f"imported_{number}" for number in range(2, len(instructions) + 1))]
        given = dict(zip(names, instructions, strict=True))
        return {name: with_adapters(text, dialect.adapters, registry) for name, text in given.items()}, []
    found: dict[str, str] = {}
    left_out: list[str] = []
    for name, text in foreign.tasks.items():
        try:
            chosen = with_adapters(text, dialect.adapters, registry)
            _check_weights(plan_task(name, TaskConfig(instruction=chosen), registry), dialect)
            found[_word(name)] = chosen
        except UserError as error:
            left_out.append(f"{name}: {str(error).splitlines()[0]}")
    return found or _usual_tasks(dialect, registry), left_out


def _check_weights(plan: TaskPlan, dialect: Dialect) -> None:
    """Every slot's adapter has weights on its side.

    Raises:
        UserError: One has none.
    """
    for slot in plan.slots():
        if slot.adapter not in (dialect.adapters if slot.side == "source" else dialect.target_adapters):
            raise UserError(f"[{slot.type}:{slot.name}]: no weights of adapter '{slot.adapter}' for the {slot.side}")


def _usual_tasks(dialect: Dialect, registry: Registry) -> dict[str, str]:
    """Text to text, and with each further adapter for other projects' weights a slot of its plugin before the text."""
    plain = registry.plain_text_slot().name
    found = {"imported": f"[{plain}:source] -> [{plain}:target]"}
    for name in dialect.adapters:
        if not isinstance(adapter(registry, name), ForeignAdapter):
            continue
        for kind in registry.names("slot"):
            if registry.owner("slot", kind) == registry.owner("adapter", name):
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


def _word(name: str) -> str:
    return re.sub(r"\W", "_", name)


def with_adapters(instruction: str, available: Sequence[str], registry: Registry) -> str:
    """The instruction, where a slot would get an adapter without weights with the name of the one that has some.

    Args:
        instruction: One or several templates.
        available: Our adapters that the checkpoint has weights of.
        registry: What is installed.
    """
    return " ||| ".join(_with_adapters(part, available, registry) for part in split_templates(instruction))


def _with_adapters(template: str, available: Sequence[str], registry: Registry) -> str:
    tree = parse(template)
    for slot in sorted(tree.slots(), key=lambda slot: -slot.end):
        chosen = _adapter_of(slot, available, registry)
        if chosen:
            template = f"{template[: slot.end - 1]},adapter={chosen}{template[slot.end - 1 :]}"
    return template


def _adapter_of(slot: Slot, available: Sequence[str], registry: Registry) -> str:
    """An adapter of the slot's own plugin that the checkpoint has and the slot would not get by itself, or nothing."""
    if any(slot.attribute(key) for key in ("adapter", "adaptor", "preprocess")):
        return ""
    usual = registry.component("preprocessor", registry.slot(slot.type).preprocessor).uses.get("adapter", "")
    owner = registry.owner("slot", slot.type)
    known = [name for name in available if name in registry.names("adapter")]
    own = [name for name in known if registry.owner("adapter", name) == owner]
    return own[0] if usual not in available and len(own) == 1 else ""


def preprocessing(foreign: Foreign, registry: Registry) -> dict[str, Any]:
    """Options of our preprocessors of the names that the checkpoint has settings for."""
    found: dict[str, Any] = {}
    for name in set(foreign.preprocessing) & set(registry.names("preprocessor")):
        kind = registry.load("preprocessor", name)
        if isinstance(kind, ForeignSettings):
            found[name] = dict(kind.foreign_settings(foreign.preprocessing[name]))
    return {name: options for name, options in sorted(found.items()) if options}


def configuration(
    foreign: Foreign, dialect: Dialect, tasks: Mapping[str, str], experts: str, preprocessing: Mapping[str, Any],
    registry: Registry,
) -> RunConfig:  # fmt: skip
    """The run's configuration: the model's options as the checkpoint says, and its tasks without data.

    Raises:
        CheckpointError: A setting of the checkpoint has an impossible value.
    """
    try:
        return _configuration(dialect, tasks, experts, preprocessing, registry)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        what = f"its settings make {name} {first['input']!r}: {first['msg'].lower()}"
        raise CheckpointError(foreign.path, what) from error


def _configuration(
    dialect: Dialect, tasks: Mapping[str, str], experts: str, preprocessing: Mapping[str, Any], registry: Registry
) -> RunConfig:
    own = {"heads_options": {"token": {"whole": True}, **dialect.heads}, "preprocessors": dict(preprocessing)}
    model = ModelConfig.model_validate({"experts": experts, **dialect.model, **own})
    return RunConfig.model_validate({
        "name": "imported",
        "tasks": {name: {"instruction": text, **_losses(text, registry)} for name, text in tasks.items()},
        "model": model.model_dump(exclude_unset=True),
        "generation": dict(dialect.generation),
        "train": {"optimizer": {"name": "adamw", "lr": 1e-5}},
    })  # fmt: skip


def _losses(instruction: str, registry: Registry) -> dict[str, Any]:
    """Loss terms of a task whose target is told by the pooled source; any other has the usual ones."""
    slots = list(plan_task("imported", TaskConfig(instruction=instruction), registry).slots())
    pooled = [slot.name for slot in slots if slot.side == "target" and slot.head == pooling_decoders.HEAD]
    source = [slot.name for slot in slots if slot.side == "source"]
    if not pooled or not source:
        return {}
    return {"losses": [{"criterion": "pooled_cross_entropy", "hidden": source[0], "labels": pooled[0]}]}


def adapter(registry: Registry, name: str) -> object:
    """Our adapter of that name, or None."""
    return registry.load("adapter", name) if name in registry.names("adapter") else None
