"""Slot types and their attributes, as a manifest declares them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

from ofa_kit.checks.findings import Finding, Subject
from ofacore.plan.attributes import CORE_ATTRIBUTES
from ofacore.plugin import Attribute, SlotType, suggest
from ofacore.plugin.manifest import AttributeType, Side

CHECK = "attributes"
_NAME = re.compile(r"[A-Za-z0-9_]+")
_PYTHON: dict[str, tuple[type[Any], ...]] = {
    "flag": (bool,),
    "int": (int,),
    "float": (int, float),
    "str": (str,),
    "choice": (str,),
    "slot": (str,),
}


def check_slot(subject: Subject, slot: SlotType) -> Iterator[Finding]:
    """A slot type and every attribute of it."""
    if not callable(slot.is_element):
        yield subject.problem(
            CHECK, f"{slot.name}: is_element is no function", "give a function value -> bool"
        )
    elif "<" in getattr(slot.is_element, "__qualname__", ""):
        message = f"{slot.name}: is_element is a lambda or a local function, which worker processes cannot import"
        yield subject.problem(CHECK, message, "write a function at the top level of the module")
    if not slot.values:
        yield subject.warning(
            CHECK, f"{slot.name}: values is empty", "say in words which values are accepted"
        )
    if slot.sample is None:
        message = f"{slot.name} has no sample"
        yield subject.warning(
            CHECK, message, "name a function that returns one value: sample='module:function'"
        )
    names: list[str] = []
    for attribute in slot.attributes:
        yield from _attribute(subject, slot.name, attribute, names)
        names.append(attribute.name)
    bound = [attribute.name for attribute in slot.attributes if attribute.type == "slot"]
    if slot.bound_to and slot.bound_to not in bound:
        hint = suggest(slot.bound_to, bound) or f"one of: {', '.join(bound) or 'none'}"
        yield subject.problem(
            CHECK, f"{slot.name}: bound_to names '{slot.bound_to}', no attribute of type slot", hint
        )


def _attribute(
    subject: Subject, slot: str, attribute: Attribute, before: list[str]
) -> Iterator[Finding]:
    title = f"{slot}: attribute '{attribute.name}'"
    if not _NAME.fullmatch(attribute.name):
        yield subject.problem(CHECK, f"{title} cannot be written", "use letters, digits and '_'")
    if attribute.name in before:
        yield subject.problem(CHECK, f"{title} is declared twice", "remove one")
    if attribute.name in {core.name for core in CORE_ATTRIBUTES}:
        yield subject.problem(
            CHECK, f"{title} is one that every slot type has", "choose another name"
        )
    if attribute.type not in get_args(AttributeType):
        known = get_args(AttributeType)
        hint = suggest(str(attribute.type), known) or f"one of: {', '.join(known)}"
        yield subject.problem(
            CHECK, f"{title} is of type '{attribute.type}', which does not exist", hint
        )
        return
    if not attribute.sides or set(attribute.sides) - set(get_args(Side)):
        yield subject.problem(
            CHECK, f"{title} has sides {attribute.sides!r}", "give 'source', 'target' or both"
        )
    if attribute.required and (attribute.type == "flag" or attribute.default is not None):
        reason = "is a flag" if attribute.type == "flag" else "has a default"
        yield subject.problem(CHECK, f"{title} {reason} and is required", "leave out required")
    if attribute.type == "choice" and not attribute.choices:
        yield subject.problem(CHECK, f"{title} has no choices", "list them: choices=(...)")
    if not attribute.doc:
        yield subject.warning(CHECK, f"{title} has no doc", "say in a few words what it does")
    yield from _default(subject, title, attribute)


def _default(subject: Subject, title: str, attribute: Attribute) -> Iterator[Finding]:
    value, right = attribute.default, _PYTHON[attribute.type]
    if value is None:
        return
    if not isinstance(value, right) or (isinstance(value, bool) and bool not in right):
        wanted = " or ".join(kind.__name__ for kind in right)
        yield subject.problem(
            CHECK, f"{title} has default {value!r}", f"give a value of type {wanted}, or None"
        )
    elif attribute.choices and attribute.type != "slot" and value not in attribute.choices:
        yield subject.problem(
            CHECK,
            f"{title} has default {value!r}",
            f"choose one of: {', '.join(map(str, attribute.choices))}",
        )
    elif attribute.type in ("int", "float"):
        low, high, number = attribute.minimum, attribute.maximum, float(attribute.default)
        if (low is not None and number < low) or (high is not None and number > high):
            yield subject.problem(
                CHECK, f"{title} has default {value!r}", "choose one within minimum and maximum"
            )
