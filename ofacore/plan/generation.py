"""Options of generation: whose they are, whether they are allowed, and what holds once all layers are put together.

The core's own are few (`CORE_OPTIONS`); all others belong to the generators that declare them. A layer (run, preset,
task, call) is a plain mapping, name -> value: each target slot's generator gets the values of the options that it has.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ofacore.config.problems import ConfigError, Problem
from ofacore.ground.excerpts import excerpt
from ofacore.plan.types import TaskPlan
from ofacore.plugin import Option, PluginError, Registry, suggest
from ofacore.plugin.blame import Blame, who
from ofacore.plugin.options import option_type, unfit
from ofacore.protocols import Options, SlotPlan

CORE_OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "seed": Option(
            0,
            "Seed of whatever is drawn: the same seed, the same output.",
            minimum=0,
            maximum=10**18,
        ),
        "max_turns": Option(
            30,
            "Most turns of a repeat group; of a task whose training data have more: a quarter more than these.",
            minimum=1,
            maximum=10**6,
        ),
    }
)
"""What generation itself takes, whatever the target is."""
_CORE = ""
_MORE_TURNS = 1.25
"""What a repeat may have, of the most turns that it has in the training data."""


@dataclass(frozen=True)
class Generation:
    """How a task's targets are generated."""

    generators: Mapping[str, Options] = field(default_factory=dict)
    """Generator of a target slot -> every option that it declares."""
    seed: int = 0
    max_turns: int = 30


def usual_options(plan: TaskPlan) -> dict[str, Any]:
    """What a task's training data say of its generation, to go before everything that is set."""
    turns = math.ceil(plan.turns * _MORE_TURNS)
    return {"max_turns": turns} if turns > CORE_OPTIONS["max_turns"].default else {}


def target_slots(plan: TaskPlan) -> tuple[SlotPlan, ...]:
    """Target slots of all templates that are generated."""
    return tuple(slot for template in plan.templates for slot in template.targets())


def generation_of(slots: Iterable[SlotPlan], registry: Registry, *layers: Options) -> Generation:
    """What holds for target slots; later layers go first, unset (None) values do not count.

    An option that none of the generators takes is passed over here: see `untaken`.

    Raises:
        ConfigError: A value that a generator does not allow, or options that contradict each other.
    """
    slots = tuple(slots)
    merged = {name: value for layer in layers for name, value in layer.items() if value is not None}
    if problems := misfits("generation", merged, slots, registry):
        raise ConfigError(problems)
    declared = _declared(slots, registry)
    values = {owner: _resolved(known, merged) for owner, known in declared.items()}
    own = values.pop(_CORE)
    if problems := _contradictions(slots, registry, values):
        raise ConfigError(problems)
    return Generation(values, own["seed"], own["max_turns"])


def untaken(
    path: str, layer: Options, slots: Iterable[SlotPlan], registry: Registry, whose: str
) -> list[Problem]:
    """One problem for each option of a layer that no generator of these slots takes.

    Args:
        path: Key path of the layer.
        layer: Name -> value; unset (None) values do not count.
        slots: The target slots.
        registry: What is installed: a problem tells who takes the option elsewhere.
        whose: Whose slots they are, in words: ``'caption'``.
    """
    taken = [name for known in _declared(slots, registry).values() for name in known]
    wrong = [name for name, value in layer.items() if value is not None and name not in taken]
    return [
        Problem(
            f"{path}.{name}",
            f"no generator of {whose} takes '{name}'",
            hint=_way_out(name, taken, registry),
        )
        for name in wrong
    ]


def unknown_options(path: str, layer: Options, registry: Registry) -> list[Problem]:
    """One problem for each option of a layer that no installed generator takes."""
    taken = [*CORE_OPTIONS, *(name for known in _installed(registry).values() for name in known)]
    wrong = [name for name, value in layer.items() if value is not None and name not in taken]
    return [
        Problem(
            f"{path}.{name}",
            f"no installed generator takes '{name}'",
            hint=_way_out(name, taken, registry),
        )
        for name in wrong
    ]


def misfits(
    path: str, layer: Options, slots: Iterable[SlotPlan], registry: Registry
) -> list[Problem]:
    """One problem for each value of a layer that a generator of these slots does not allow."""
    found = []
    for owner, declared in _declared(slots, registry).items():
        whose = f"generator '{owner}'" if owner != _CORE else "generation"
        for name in (name for name in layer if name in declared):
            value = _without_numpy(layer[name])
            if value is not None and (expected := unfit(value, declared[name])):
                message = f"found {excerpt(value)}, expected {expected}"
                near = suggest(str(value), [str(choice) for choice in declared[name].choices])
                hint = near or f"{whose} has {excerpt(declared[name].default)} by default"
                found.append(Problem(f"{path}.{name}", message, hint=hint))
    return found


def taken_by(slots: Iterable[SlotPlan], registry: Registry, layer: Options) -> dict[str, Any]:
    """What of a layer the generators of these slots take, or the core."""
    taken = {name for known in _declared(slots, registry).values() for name in known}
    return {name: value for name, value in layer.items() if name in taken}


def _declared(slots: Iterable[SlotPlan], registry: Registry) -> dict[str, Mapping[str, Option]]:
    """Generator of a slot -> what it declares; the core's own options stand first, under no name."""
    names = dict.fromkeys(slot.generator for slot in slots)
    return {
        _CORE: CORE_OPTIONS,
        **{name: registry.component("generator", name).declared for name in names},
    }


def _installed(registry: Registry) -> dict[str, Mapping[str, Option]]:
    """Generator -> what it declares, of all that can be used."""
    found: dict[str, Mapping[str, Option]] = {}
    for name in registry.names("generator"):
        try:
            found[name] = registry.component("generator", name).declared
        except PluginError:
            continue  # its conflict is told where it is used
    return found


def _way_out(name: str, taken: Iterable[str], registry: Registry) -> str:
    """Who takes the option, or else what was meant."""
    installed = _installed(registry)
    owners = [f"'{owner}'" for owner, known in installed.items() if name in known]
    if owners:
        if len(owners) == 1:
            return f"it is an option of generator {owners[0]}"
        return f"it is an option of generators {', '.join(owners[:-1])} and {owners[-1]}"
    names = list(dict.fromkeys(taken))
    every = [option for known in installed.values() for option in known]
    return suggest(name, names) or suggest(name, every) or f"there are: {', '.join(names)}"


def _contradictions(
    slots: Iterable[SlotPlan], registry: Registry, resolved: Mapping[str, Options]
) -> list[Problem]:
    """What the generators' own checks say of each slot."""
    found = []
    for slot in slots:
        target = registry.component("generator", slot.generator).check
        if not target:
            continue
        with Blame(who(registry, "generator", slot.generator), f"its check, slot '{slot.name}'"):
            check = registry.resolve(target)
            try:
                check(resolved[slot.generator], slot)
            except ValueError as error:
                found.append(Problem("generation", str(error)))
    return list(dict.fromkeys(found))


def _resolved(declared: Mapping[str, Option], merged: Options) -> dict[str, Any]:
    """Every declared option with its value."""
    given = {
        name: _plain(value, declared[name]) for name, value in merged.items() if name in declared
    }
    return {**{name: option.default for name, option in declared.items()}, **given}


def _plain(value: Any, option: Option) -> Any:
    """The value as its declaration has it: 3.0 is a whole number, numbers of numpy are those of Python."""
    value = _without_numpy(value)
    kind = option.type or option_type(option.default)
    if kind == "int":
        return int(value)
    return float(value) if kind == "float" else value


def _without_numpy(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value
