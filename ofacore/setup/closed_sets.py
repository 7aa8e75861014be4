"""Closed sets of a model's tasks: read, or taken from the training data, and tried before anything is trained."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ofacore.config.closed_values import plain_value
from ofacore.config.problems import ConfigError, Problem
from ofacore.encoding.closed_set_members import member_problem, read_members, usable_members
from ofacore.encoding.slot_kinds import elements_of
from ofacore.ground.excerpts import excerpt
from ofacore.plan import TaskPlan
from ofacore.plugin import Registry
from ofacore.protocols import Preprocessor, SlotPlan
from ofacore.setup.datasets import DataError, TaskRows, sampled_rows

logger = logging.getLogger("ofacore.encoding")
CLOSED_SET_LIMIT = 100_000
"""Training rows that a closed set is taken from."""


def choosing(plan: TaskPlan, name: str) -> list[SlotPlan]:
    """Learned target slots of that name that choose from a closed set."""
    return [
        slot
        for slot in plan.slots()
        if slot.name == name and slot.attributes.get("closed_set") and slot.loss
    ]


def with_closed_sets(plan: TaskPlan, data: TaskRows, registry: Registry) -> TaskPlan:
    """Files are read, and sets that nobody gave are the values of the training data.

    Raises:
        SourceError: A file cannot be read.
        DataError: No training row has a value.
    """
    given = {
        name: read_members(name, v) if isinstance(v, str) else v
        for name, v in plan.closed_sets.items()
    }
    return replace(plan, closed_sets={**given, **_from_data(plan, data, registry)})


def settled(plan: TaskPlan, given: TaskPlan, preprocessors: Mapping[str, Preprocessor]) -> TaskPlan:
    """The plan with closed sets that the fitted preprocessors of their slots take.

    What the training data hold and no preprocessor takes is left out: the rows that have it are bad rows.

    Args:
        plan: With all closed sets.
        given: The plan with those alone that somebody gave.
        preprocessors: Bound ones, by name.

    Raises:
        ConfigError: A slot refuses a member that was given, or cannot tell two members apart.
    """
    sets: dict[str, Any] = dict(plan.closed_sets)
    problems = []
    for name, values in sets.items():
        slots = choosing(plan, name)
        if isinstance(values, Mapping | str) or not slots:
            continue
        if name not in given.closed_sets:
            values = _checked(plan.name, name, usable_members(values, slots, preprocessors))
            _tell_alike(plan.name, name, values)
            if len(values) == 1 and not any(slot.repeat for slot in slots):
                logger.warning(
                    "task '%s': all training rows have %s in '%s', so there is nothing to choose; is it the column "
                    "that is meant? (of files sorted into a folder for each label, give the folder above these)",
                    plan.name,
                    excerpt(values[0]),
                    name,
                )
            sets[name] = values
        if problem := member_problem(values, slots, preprocessors):
            problems.append(Problem(f"tasks.{plan.name}.closed_sets.{name}", problem))
    if problems:
        raise ConfigError(problems)
    return replace(plan, closed_sets=sets)


def _tell_alike(task: str, name: str, values: Sequence[Any]) -> None:
    """Warn of two members that a reader would take for one."""
    seen: dict[str, Any] = {}
    for value in values:
        key = _as_read(value)
        if key in seen:
            pair = f"{excerpt(seen[key])} and {excerpt(value)}"
            logger.warning(
                "task '%s': the closed set of '%s' holds %s, which differ in blanks, accents or the way to write a "
                "number; if they mean the same, write them alike, or give tasks.%s.closed_sets.%s a list of values",
                task,
                name,
                pair,
                task,
                name,
            )
            return
        seen[key] = value


def _as_read(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    text = str(int(value)) if whole else str(value)
    return " ".join(unicodedata.normalize("NFC", text).split())


def _from_data(plan: TaskPlan, data: TaskRows, registry: Registry) -> dict[str, tuple[Any, ...]]:
    wanted = {
        slot.name: slot for slot in plan.slots() if slot.attributes.get("closed_set") and slot.loss
    }
    tests = {name: registry.slot(slot.type).is_element for name, slot in sorted(wanted.items())}
    tests = {name: test for name, test in tests.items() if name not in plan.closed_sets}
    if not tests:
        return {}
    found: dict[str, dict[str, Any]] = {name: {} for name in tests}
    for row in sampled_rows(plan, data, registry, CLOSED_SET_LIMIT):
        for name, seen in found.items():
            for value in values_of(row.get(name), wanted[name], tests[name]):
                plain = plain_value(value)
                if plain is not None:
                    seen.setdefault(str(plain), plain)
    closed_sets = {}
    for name, seen in found.items():
        values = [seen[text] for text in sorted(seen)]
        closed_sets[name] = _checked(plan.name, name, values)
    return closed_sets


def values_of(value: Any, slot: SlotPlan, is_element: Callable[[Any], bool]) -> list[Any]:
    """The values that a row gives to a slot; none where it is no value of its type."""
    if slot.repeat or is_element(value):
        return list(elements_of(value, is_element))
    return []


def _checked(task: str, name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    if not values:
        remedy = f"give tasks.{task}.closed_sets.{name} a list of values"
        raise DataError(
            f"task '{task}': no training row tells the closed set of '{name}'; {remedy}"
        )
    return tuple(values)
