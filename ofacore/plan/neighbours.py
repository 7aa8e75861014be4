"""Preprocessors that build on others: which ones a model needs, and in which order they are made."""

from __future__ import annotations

from collections.abc import Iterable

from ofacore.plugin import PluginError, Registry, UnknownNameError
from ofacore.plugin.blame import who
from ofacore.plugin.first_party import SLOT_DISTRIBUTIONS


def with_neighbours(names: Iterable[str], registry: Registry) -> list[str]:
    """Preprocessors with all those that they build on, each behind its own.

    Raises:
        PluginError: They build on one another in a ring, or one of them is not installed.
    """
    found: dict[str, None] = {}
    for name in names:
        _add(name, registry, found, ())
    return list(found)


def _add(name: str, registry: Registry, found: dict[str, None], way: tuple[str, ...]) -> None:
    if name in way:
        ring = " -> ".join([*way[way.index(name) :], name])
        first = who(registry, "preprocessor", name)
        raise PluginError(
            f"preprocessors build on one another in a ring: {ring}; take one of them out of builds_on of {first}"
        )
    if name in found:
        return
    for other in _builds_on(name, registry, way):
        _add(other, registry, found, (*way, name))
    found[name] = None


def _builds_on(name: str, registry: Registry, way: tuple[str, ...]) -> tuple[str, ...]:
    if not way:
        return registry.component("preprocessor", name).builds_on
    try:
        return registry.component("preprocessor", name).builds_on
    except UnknownNameError as error:
        owner = who(registry, "preprocessor", way[-1])
        raise PluginError(
            f"{owner} builds on the preprocessor '{name}', which is not installed; {_way_out(name, error)}"
        ) from error


def _way_out(name: str, error: UnknownNameError) -> str:
    """What to install, as far as it is known."""
    distribution = SLOT_DISTRIBUTIONS.get(name.upper())
    if distribution:
        return f"pip install {distribution}"
    near = error.hint or f"there are: {', '.join(error.known)}"
    return f"install the plugin that brings it ({near})"
