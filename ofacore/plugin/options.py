"""What an option's declaration says: whether a value fits it, and how pages show it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, get_args

from ofacore.ground.excerpts import excerpt, listing
from ofacore.plugin.manifest import Component, Option, OptionType


def unfit(value: Any, option: Option) -> str:
    """What an option should be, where a value is of another type, outside the bounds or no choice; else empty.

    A text takes any scalar or path; a default of None is always allowed.
    """
    if value is None and option.default is None:
        return ""
    if expected := _misfit(value, option.type or option_type(option.default)):
        return expected
    if option.choices and value not in option.choices:
        names = [str(choice) if choice != "" else "empty" for choice in option.choices]
        return f"one of: {listing(names)}"
    low, high = option.minimum, option.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        return limits(low, high)
    return ""


def limits(low: float | None, high: float | None) -> str:
    """``at least 1``, ``at most 5`` or ``1 to 5``."""
    if high is None:
        return f"at least {low:g}"
    return f"at most {high:g}" if low is None else f"{low:g} to {high:g}"


def option_type(default: Any) -> OptionType:
    """Type of an option that declares none."""
    kinds: tuple[tuple[Any, OptionType], ...] = (
        (bool, "flag"),
        (int, "int"),
        (float, "float"),
        (str, "str"),
        (Mapping, "section"),
        ((list, tuple), "list"),
    )
    return next((name for kind, name in kinds if isinstance(default, kind)), "any")


def _misfit(value: Any, wanted: OptionType) -> str:
    """What a value of that type is, in words, where this one is of another; else empty."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    fits = {
        "any": True,
        "flag": isinstance(value, bool),
        "int": number and value == int(value),
        "float": number,
        "str": isinstance(value, str | bool | int | float | PurePath),
        "section": isinstance(value, Mapping),
        "list": isinstance(value, list | tuple),
    }
    return "" if fits[wanted] else _IN_WORDS[wanted]


_IN_WORDS: Mapping[str, str] = {
    "flag": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "section": "a section with keys",
    "list": "a list",
}


def declaration_fault(option: Option) -> str:
    """Why a declaration contradicts itself; empty if it does not."""
    low, high = option.minimum, option.maximum
    kind = option.type or option_type(option.default)
    if kind not in get_args(OptionType):
        return f"type '{kind}' does not exist; there are {', '.join(get_args(OptionType))}"
    if (low is not None or high is not None) and kind not in ("int", "float"):
        return f"bounds {limits(low, high)} are for numbers, not for type '{kind}'"
    if low is not None and high is not None and low > high:
        return f"minimum {low:g} is more than maximum {high:g}"
    expected = unfit(option.default, option)
    return (
        f"default {excerpt(option.default)} does not fit: expected {expected}" if expected else ""
    )


def values_in_words(option: Option) -> str:
    """``int, 1 to 9``; of choices their list."""
    if option.choices:
        return " or ".join(str(choice) if choice != "" else "empty" for choice in option.choices)
    kind = option.type or option_type(option.default)
    bounded = option.minimum is not None or option.maximum is not None
    bounds = f", {limits(option.minimum, option.maximum)}" if bounded else ""
    return _SHORT.get(kind, kind) + bounds


def default_in_words(option: Option) -> str:
    """The default as a configuration has it; empty where there is none."""
    if isinstance(option.default, bool):
        return str(option.default).lower()
    return "" if option.default in (None, "", (), [], {}) else str(option.default)


def options_table(components: Iterable[Component]) -> str:
    """Options of components as a table of Markdown, sorted by kind and name; without those that take none."""
    rows = [
        row
        for found in sorted(components, key=lambda found: (found.kind, found.name))
        for row in _rows(found)
    ]
    return "\n".join(
        ["| Component | Option | Value | Default | Meaning |", "|---|---|---|---|---|", *rows, ""]
    )


def _rows(component: Component) -> Iterator[str]:
    owner = f"`{component.kind}/{component.name}`"
    for name, option in component.declared.items():
        default = default_in_words(option)
        cells = [
            owner,
            f"`{name}`",
            values_in_words(option),
            f"`{default}`" if default else "",
            option.doc,
        ]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
        owner = ""


_SHORT: Mapping[str, str] = {"flag": "true or false", "str": "text"}
