"""From plain values to a checked `RunConfig`: every problem at once, in the words of this schema."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import ValidationError

from ofacore.config.layering import Layer, Path, dotted
from ofacore.config.problems import Problem
from ofacore.config.schema import RunConfig
from ofacore.config.section import Section
from ofacore.plugin import suggest

_LONGEST = 60
_ROUNDS = 4


def validate(layer: Layer, problems: list[Problem]) -> RunConfig | None:
    """Check values against the schema; None if there are problems, old or new."""
    reported = {problem.path for problem in problems}
    try:
        config = RunConfig.model_validate(layer.values)
    except ValidationError as error:
        found = _by_path(error, layer.values)
        for path, errors in found.items():
            deeper = any(other[: len(path)] == path and other != path for other in found)
            if not deeper and not any(
                dotted(path[:end]) in reported for end in range(1, len(path) + 1)
            ):
                problems.append(_problem(path, errors, layer))
        return None
    return None if problems else config


def explained(
    error: ValidationError, values: Mapping[str, Any], prefix: Path = ()
) -> list[Problem]:
    """What pydantic found in a section, in the words of this schema.

    Args:
        error: Its error.
        values: What was checked.
        prefix: Key path of the section.
    """
    return [
        _problem((*prefix, *path), errors, Layer())
        for path, errors in _by_path(error, values).items()
    ]


def salvage(values: Mapping[str, Any]) -> RunConfig | None:
    """A run without the keys that do not fit the schema; None if nothing is left to check."""
    rest = copy.deepcopy(dict(values))
    for _ in range(_ROUNDS):
        try:
            return RunConfig.model_validate(rest)
        except ValidationError as error:
            for path in _by_path(error, rest):
                _take_out(rest, path)
    return None


def _take_out(values: dict[str, Any], path: Path) -> None:
    """Delete the key at a path; of a list, or where the key is missing, what holds it."""
    holders: list[Any] = [values]
    for part in path[:-1]:
        inside = holders[-1]
        fits = (
            part in inside
            if isinstance(inside, dict)
            else isinstance(inside, list) and int(part) < len(inside)
        )
        if not fits:
            return
        holders.append(inside[part])
    for holder, part in zip(reversed(holders), reversed(path), strict=True):
        if isinstance(holder, dict) and part in holder:
            del holder[part]
            return


def section_at(path: Path) -> type[Section] | None:
    """The section of the schema that a key path leads to; None if it leads to a value."""
    annotation: Any = RunConfig
    for part in path:
        annotation = _inner(annotation, part)
    return annotation if _is_section(annotation) else None


def _inner(annotation: Any, part: str | int) -> Any:
    if _is_section(annotation):
        field = annotation.model_fields.get(part)
        return field.annotation if field else None
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is dict:
        return arguments[1]
    if origin in (tuple, list):
        return arguments[0]
    if origin in (Union, UnionType):
        return next(
            (
                _inner(member, part)
                for member in arguments
                if get_origin(member) or _is_section(member)
            ),
            None,
        )
    return None


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _by_path(error: ValidationError, values: Any) -> dict[Path, list[Any]]:
    """Errors by the path in the data; what pydantic adds to a path for members of unions is left out."""
    found: dict[Path, list[Any]] = {}
    for entry in error.errors(include_url=False):
        path: Path = ()
        value = values
        for part in entry["loc"]:
            if isinstance(value, Mapping) and (part in value or entry["type"] == "missing"):
                path, value = (*path, part), value.get(part)
            elif isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
                path, value = (*path, part), value[part]
        found.setdefault(path, []).append(entry)
    return found


def _problem(path: Path, errors: Sequence[Any], layer: Layer) -> Problem:
    first = errors[0]
    if first["type"] == "extra_forbidden":
        section = section_at(path[:-1])
        known = list(section.model_fields) if section else []
        hint = suggest(str(path[-1]), known) or f"known here: {', '.join(known)}"
        return layer.problem(path, f"unknown key '{path[-1]}'", hint)
    if first["type"] == "missing":
        short = isinstance(first["loc"][-1], int)
        message = "this list is too short" if short else "this key is required"
        return layer.problem(path, message)
    expected = " or ".join(dict.fromkeys(_expected(entry) for entry in errors))
    return layer.problem(path, f"found {_shown(first['input'])}, expected {expected}", _hint(first))


def _hint(entry: Any) -> str:
    if entry["type"] == "literal_error":
        return suggest(str(entry["input"]), re.findall(r"'([^']*)'", entry["ctx"]["expected"]))
    is_number = isinstance(entry["input"], int | float)
    return "put it into quotes" if entry["type"] == "string_type" and is_number else ""


_LIMITS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_FORMS = {
    "model_type": "a section with keys",
    "dict_type": "a section with keys",
    "tuple_type": "a list",
    "string_type": "text",
}


def _expected(entry: Any) -> str:
    if entry["type"] in _LIMITS:
        words, key = _LIMITS[entry["type"]]
        return f"{words} {entry['ctx'][key]:g}"
    if entry["type"] == "too_long":
        return f"at most {entry['ctx']['max_length']} entries"
    if entry["type"] == "value_error":
        return str(entry["ctx"]["error"])
    message = str(entry["msg"]).removeprefix("Input should be ").partition(", unable to")[0]
    return _FORMS.get(entry["type"], message)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a section with {', '.join(map(str, value)) or 'nothing in it'}"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
