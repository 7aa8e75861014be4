"""Methods of merging, one a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ofa_merge.method import Method
from ofa_merge.methods import (
    adamerging,
    breadcrumbs,
    dare,
    mean,
    slerp,
    tall_masks,
    task_arithmetic,
    ties,
)
from ofacore.ground.errors import UserError
from ofacore.plugin import suggest
from ofacore.plugin.options import unfit

_ALL = (
    mean.METHOD,
    slerp.METHOD,
    task_arithmetic.METHOD,
    ties.METHOD,
    dare.METHOD,
    breadcrumbs.METHOD,
    tall_masks.METHOD,
    adamerging.METHOD,
)
METHODS = {method.name: method for method in _ALL}


def method_of(name: str) -> Method:
    """The method of that name.

    Raises:
        UserError: There is none.
    """
    if name not in METHODS:
        hint = suggest(name, METHODS) or f"there are {', '.join(METHODS)}"
        raise UserError(f"no method '{name}'; {hint}")
    return METHODS[name]


def with_defaults(method: Method, given: dict[str, Any]) -> dict[str, Any]:
    """All options of a method.

    Raises:
        UserError: It has no such option, or the value does not fit.
    """
    for name, value in given.items():
        if name not in method.options:
            known = f"it has {', '.join(method.options)}" if method.options else "it has none"
            hint = suggest(name, method.options) or known
            raise UserError(f"method '{method.name}' has no option '{name}'; {hint}")
        if expected := unfit(value, method.options[name]):
            raise UserError(f"{method.name}, option {name}={value}: expected {expected}")
    found = {name: given.get(name, option.default) for name, option in method.options.items()}
    if problem := method.check(found):
        raise UserError(f"{method.name}: {problem}")
    return found


def read_settings(settings: Sequence[str]) -> dict[str, Any]:
    """``option=value`` of the command line.

    Raises:
        UserError: One is not of that form.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not (name and equals):
            raise UserError(f"--set '{setting}' is not of the form option=value")
        found[name] = _value(text)
    return found


def _value(text: str) -> Any:
    """A number where it can be one, else text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
