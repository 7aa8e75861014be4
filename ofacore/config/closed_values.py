"""Members of closed sets as they are stored: plain values that JSON holds, each of them once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

EXPECTED = "a list of values, a file with one a line, or {column: name}"


def closed_values(given: Any) -> Any:
    """What a configuration gives as a closed set, with its members plain; a file or a column as it is.

    Raises:
        ValueError: Neither of these; says what is expected.
    """
    if isinstance(given, str):
        return given
    if isinstance(given, Mapping):
        if set(given) == {"column"} and isinstance(given["column"], str):
            return dict(given)
        raise ValueError(EXPECTED)
    if not hasattr(given, "tolist") and not isinstance(given, Iterable):
        raise ValueError(EXPECTED)
    return members(given)


def members(given: Any) -> tuple[Any, ...]:
    """Distinct plain values in their order: of a list, a range, an array of numpy, a column of pandas, a set.

    Raises:
        ValueError: There are none, or one is not text, a finite number, true, false or made of these.
    """
    values = given.tolist() if hasattr(given, "tolist") else given
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise ValueError("a list of values, such as ['yes', 'no']")
    listed = sorted(values, key=str) if isinstance(values, set | frozenset) else list(values)
    distinct: dict[str, Any] = {}
    for number, value in enumerate(listed):
        plain = plain_value(value)
        if plain is None:
            raise ValueError(
                f"text and finite numbers as values, but number {number + 1} is {_shown(value)}"
            )
        distinct.setdefault(repr(plain), plain)
    if not distinct:
        raise ValueError("at least one value")
    return tuple(distinct.values())


def plain_value(value: Any) -> Any:
    """The value as JSON holds it, numbers of numpy as plain ones; None if JSON cannot hold it."""
    if hasattr(value, "tolist"):
        return plain_value(value.tolist())
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        parts = [plain_value(part) for part in value]
        return None if any(part is None for part in parts) else parts
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        entries = {key: plain_value(part) for key, part in value.items()}
        return None if any(part is None for part in entries.values()) else entries
    return None


def is_misfit(value: Any, is_element: Callable[[Any], bool]) -> bool:
    """Whether a member is a single value of the wrong kind, such as true where texts are expected."""
    return not isinstance(value, list | tuple | Mapping) and not is_element(value)


def quoted(value: Any) -> str:
    """How a truth value is written that was meant as text; empty for anything else."""
    return f"put it into quotes: '{str(value).lower()}'" if isinstance(value, bool) else ""


def _shown(value: Any) -> str:
    if value is None or isinstance(value, float):
        return str(value)
    return f"of type {type(value).__name__}"
