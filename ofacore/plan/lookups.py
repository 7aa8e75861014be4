"""Names of a configuration that the registry must know, as problems rather than exceptions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ofacore.config.problems import Problem
from ofacore.ground.excerpts import excerpt, listing
from ofacore.instruction import Contrast, Node, Repeat, Slot
from ofacore.plan.types import TaskPlan, TemplatePlan
from ofacore.plugin import Option, PluginError, Registry, UnknownNameError, suggest
from ofacore.plugin.options import unfit

ALL = "*"
"""In place of a column: an object of all columns that nothing else of the task reads."""


def unknown(path: str, kind: str, name: str, registry: Registry) -> list[Problem]:
    """The problem of a component (or ``preset``) that does not exist or cannot be used; none if it can."""
    try:
        if kind == "preset":
            registry.preset(name)
        else:
            registry.component(kind, name)
    except UnknownNameError as error:
        known = (
            f"one of: {', '.join(error.known)}" if error.known else f"no {error.kind} is installed"
        )
        return [
            Problem(
                path,
                f"unknown {error.kind} '{name}'",
                hint=suggest(name, error.known) or error.advice or known,
            )
        ]
    except PluginError as error:
        return [Problem(path, str(error))]
    return []


def unknown_component(path: str, kind: str, name: str, registry: Registry) -> list[Problem]:
    """As `unknown`, for a key ``kind/name`` whose kind may not exist either.

    Args:
        path: Where it stands.
        kind: Empty where the key has no slash.
        name: Behind the slash, or the whole key.
        registry: What is installed.
    """
    kinds = registry.kinds()
    elsewhere = [
        f"{other}/{name}" for other in kinds if other != kind and name in registry.names(other)
    ]
    if not kind:
        hint = f"did you mean {listing(elsewhere)}?" if elsewhere else "such as generator/token"
        return [Problem(path, f"found '{name}', expected kind/name of a component", hint=hint)]
    try:
        registry.kind(kind)
    except UnknownNameError:
        hint = suggest(kind, kinds) or f"one of: {', '.join(kinds)}"
        return [Problem(path, f"unknown kind of component '{kind}'", hint=hint)]
    except PluginError as error:
        return [Problem(path, str(error))]
    wrong = unknown(path, kind, name, registry)
    if wrong and elsewhere:
        return [Problem(path, wrong[0].message, hint=f"did you mean {listing(elsewhere)}?")]
    return wrong


def option_problems(
    path: str, kind: str, name: str, given: Mapping[str, Any], registry: Registry
) -> list[Problem]:
    """One problem for each option that a component does not take, or whose value it does not allow."""
    return declared_problems(
        path, f"{kind} '{name}'", registry.component(kind, name).declared, given
    )


def declared_problems(
    path: str,
    owner: str,
    declared: Mapping[str, Option],
    given: Mapping[str, Any],
) -> list[Problem]:
    """One problem for each of the given options that is not declared, or whose value is not allowed.

    Args:
        path: Where they are given.
        owner: Whose options they are, for the message.
        declared: Name -> option.
        given: Name -> value.
    """
    found = []
    for name, value in given.items():
        place = f"{path}.{name}"
        if name not in declared:
            found.append(
                Problem(place, f"{owner} has no option '{name}'", hint=_choice(name, declared))
            )
        elif expected := unfit(value, declared[name]):
            default = excerpt(declared[name].default)
            near = suggest(str(value), [str(choice) for choice in declared[name].choices])
            message = f"found {excerpt(value)}, expected {expected}; the default is {default}"
            found.append(Problem(place, message, hint=near))
    return found


def unknown_slot(path: str, slot: str, slots: Iterable[str]) -> list[Problem]:
    """The problem of a slot that no template has; none if one has it."""
    names = list(dict.fromkeys(slots))
    if slot in names:
        return []
    return [
        Problem(
            path,
            f"the instruction has no slot '{slot}' that could serve here",
            hint=_choice(slot, names),
        )
    ]


def needed_columns(template: TemplatePlan, registry: Registry) -> tuple[str, ...]:
    """Slots of a template that every row must have a value for.

    All but those of optional groups, and those whose type needs no column.
    """
    nodes = (*template.tree.source, *template.tree.target)
    slots = [slot for node in nodes for slot in _always(node)]
    needed = [slot.name for slot in slots if registry.slot(slot.type).needs_column]
    return tuple(dict.fromkeys(needed))


def _always(node: Node) -> Iterator[Slot]:
    if isinstance(node, Slot):
        yield node
    elif isinstance(node, Repeat):
        for child in node.items:
            yield from _always(child)
    elif isinstance(node, Contrast):
        yield from (side for side in (node.left, node.right) if isinstance(side, Slot))


def read_columns(plan: TaskPlan) -> frozenset[str]:
    """Columns that slots, closed sets and metrics of a task read, and slots by their own names."""
    slots = [slot.name for slot in plan.slots() if slot.plain is None]
    paths = [plan.columns.get(slot, slot) for slot in slots]
    paths += [use.references for use in plan.metrics if use.references]
    paths += [given["column"] for given in plan.closed_sets.values() if isinstance(given, Mapping)]
    found = {*slots, *paths}
    for path in paths:
        steps = path.replace("[", ".").split(".")
        found |= {".".join(steps[:end]) for end in range(1, len(steps))}
    return frozenset(found)


def begins_with(column: str, known: Sequence[str]) -> bool:
    """Whether a column, or a place inside of one such as ``answers.text.0``, belongs to the known ones; `ALL` does."""
    return column in (ALL, *known) or any(
        column.startswith((f"{name}.", f"{name}[")) for name in known
    )


def delimiter_of(columns: Sequence[str], wanted: str = "") -> str:
    """As YAML has it: the character that seems to separate what was taken for a single column; else empty.

    Args:
        columns: Names of the columns.
        wanted: Name of one that is missing; a blank separates names only where this is one of them.
    """
    found = next(
        (mark for mark in ("\t", ";", "|", ",") if len(columns) == 1 and mark in columns[0]), ""
    )
    if not found and len(columns) == 1 and wanted != columns[0] and wanted in columns[0].split(" "):
        found = " "
    if found == "\t":
        return '"\\t"'
    return f"'{found}'" if found else ""


def column_hint(name: str, columns: Sequence[str], lines: bool = True) -> str:
    """What to do about a column that a file does not have; ``lines``: its first line names the columns."""
    if not lines:
        return suggest(name, columns) or f"it has {listing(columns)}"
    if mark := delimiter_of(columns, name):
        shell = mark.replace('"\\t"', "\\t").strip("'")
        command = f"--set 'delimiter={shell}'" if shell.strip() else f'--set "delimiter={mark}"'
        return f"it has a single one, {excerpt(columns[0])}; set delimiter: {mark}, here {command}"
    header = "if its first line is data, set header: false and names: [first, second]"
    if len(columns) == 1 or columns[0].startswith("#"):
        header += (
            "; if it is a title or a remark, take it out: the first line must name the columns"
        )
    return suggest(name, columns) or f"it has {listing(columns)}; {header}"


def _choice(name: str, known: Iterable[str]) -> str:
    names = list(known)
    return suggest(name, names) or f"one of: {', '.join(names) or 'none'}"
