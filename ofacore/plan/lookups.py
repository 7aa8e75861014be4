"""Names of a configuration that the registry must know, as problems rather than exceptions."""

from __future__ import annotations

from collections.abc import Iterable

from ofacore.config.errors import Problem
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


def option_problems(path: str, kind: str, name: str, given: Iterable[str], registry: Registry) -> list[Problem]:
    """One problem for each option that a component does not take."""
    known = registry.component(kind, name).options
    return [
        Problem(f"{path}.{option}", f"{kind} '{name}' has no option '{option}'", hint=_choice(option, known))
        for option in given
        if option not in known
    ]


def unknown_slot(path: str, slot: str, slots: Iterable[str]) -> list[Problem]:
    """The problem of a slot that no template has; none if one has it."""
    names = list(dict.fromkeys(slots))
    if slot in names:
        return []
    return [Problem(path, f"the instruction has no slot '{slot}' that could serve here", hint=_choice(slot, names))]


def _choice(name: str, known: Iterable[str]) -> str:
    names = list(known)
    return suggest(name, names) or f"one of: {', '.join(names) or 'none'}"
