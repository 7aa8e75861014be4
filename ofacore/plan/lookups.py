"""Names of a configuration that the registry must know, as problems rather than exceptions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from ofacore.config.errors import Problem
from ofacore.excerpts import excerpt, listing
from ofacore.instruction import Contrast, Node, Repeat, Slot
from ofacore.plan.types import TemplatePlan
from ofacore.plugin import PluginError, Registry, UnknownNameError, suggest


def unknown(path: str, kind: str, name: str, registry: Registry) -> list[Problem]:
    """The problem of a component (or ``preset``) that does not exist or cannot be used; none if it can."""
    try:
        if kind == "preset":
            registry.preset(name)
        else:
            registry.component(kind, name)
    except UnknownNameError as error:
        known = f"one of: {', '.join(error.known)}" if error.known else f"no {error.kind} is installed"
        return [
            Problem(path, f"unknown {error.kind} '{name}'", hint=suggest(name, error.known) or error.advice or known)
        ]
    except PluginError as error:
        return [Problem(path, str(error))]
    return []


def option_problems(path: str, kind: str, name: str, given: Mapping[str, Any], registry: Registry) -> list[Problem]:
    """One problem for each option that a component does not take, or that is of another kind than its default."""
    known = registry.component(kind, name).options
    found = []
    for option, value in given.items():
        place = f"{path}.{option}"
        if option not in known:
            found.append(Problem(place, f"{kind} '{name}' has no option '{option}'", hint=_choice(option, known)))
        elif expected := misfit(value, known[option]):
            default = excerpt(known[option])
            found.append(Problem(place, f"found {excerpt(value)}, expected {expected}; the default is {default}"))
    return found


def misfit(value: Any, default: Any) -> str:
    """What an option should be, judged by its default, where a value is of another kind; else empty.

    A default of None takes anything, and a text default any scalar or path.
    """
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(default, int | float):
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        whole = isinstance(default, float) or (fits and value == int(value))
        return "" if fits and whole else "a number" if isinstance(default, float) else "a whole number"
    if isinstance(default, Mapping):
        return "" if isinstance(value, Mapping) else "a section with keys"
    if isinstance(default, list | tuple):
        return "" if isinstance(value, list | tuple) else "a list"
    if isinstance(default, str):
        return "" if isinstance(value, str | bool | int | float | PurePath) else "text"
    return ""


def unknown_slot(path: str, slot: str, slots: Iterable[str]) -> list[Problem]:
    """The problem of a slot that no template has; none if one has it."""
    names = list(dict.fromkeys(slots))
    if slot in names:
        return []
    return [Problem(path, f"the instruction has no slot '{slot}' that could serve here", hint=_choice(slot, names))]


def needed_columns(template: TemplatePlan) -> tuple[str, ...]:
    """Slots of a template that every row must have a value for: all but those of optional groups."""
    nodes = (*template.tree.source, *template.tree.target)
    return tuple(dict.fromkeys(slot.name for node in nodes for slot in _always(node)))


def _always(node: Node) -> Iterator[Slot]:
    if isinstance(node, Slot):
        yield node
    elif isinstance(node, Repeat):
        for child in node.items:
            yield from _always(child)
    elif isinstance(node, Contrast):
        yield from (side for side in (node.left, node.right) if isinstance(side, Slot))


def begins_with(column: str, known: Sequence[str]) -> bool:
    """Whether a column, or a place inside of one such as ``answers.text.0``, belongs to the known ones."""
    return column in known or any(column.startswith((f"{name}.", f"{name}[")) for name in known)


def delimiter_of(columns: Sequence[str]) -> str:
    """As YAML has it: the character that seems to separate what was taken for a single column; else empty."""
    found = next((mark for mark in ("\t", ";", "|", ",") if len(columns) == 1 and mark in columns[0]), "")
    return '"\\t"' if found == "\t" else f"'{found}'" if found else ""


def column_hint(name: str, columns: Sequence[str]) -> str:
    """What to do about a column that a file does not have."""
    if mark := delimiter_of(columns):
        shell = mark.replace('"\\t"', "\\t").strip("'")
        return f"it has a single one, {excerpt(columns[0])}; set delimiter: {mark}, here --set 'delimiter={shell}'"
    header = "if its first line is data, set header: false and names: [first, second]"
    return suggest(name, columns) or f"it has {listing(columns)}; {header}"


def _choice(name: str, known: Iterable[str]) -> str:
    names = list(known)
    return suggest(name, names) or f"one of: {', '.join(names) or 'none'}"
