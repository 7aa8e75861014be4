"""Whose code failed: an exception that comes out of a component is given a note that names its plugin and place."""

from __future__ import annotations

from typing import Any


def who(registry: Any, kind: str, name: str) -> str:
    """``adapter 'map' of plugin 'maps' (ofa-modality-maps 0.1.0)``; kind and name alone where no plugin is known.

    Args:
        registry: Where components come from; anything with `Registry.plugin_of`.
        kind: Kind of component.
        name: Its name.
    """
    told = f"{kind} '{name}'"
    try:
        row = registry.plugin_of(kind, name)
    except Exception:  # whatever is wrong with the registry is told elsewhere; here another error is being told
        return told
    return f"{told} of plugin '{row.name}' ({row.distribution} {row.version})"


class Blame:
    """Gives whatever is raised inside a note of who raised it; a class, as every call of a component enters one."""

    __slots__ = ("_place", "_who")

    def __init__(self, who: str, place: str = "") -> None:
        self._who, self._place = who, place

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, Exception):
            blame(error, self._who, self._place)


def blame(error: Exception, who: str, place: str = "") -> None:
    """Note who raised an error, unless somebody nearer to it was named before."""
    if not any(note.startswith("raised by ") for note in getattr(error, "__notes__", ())):
        error.add_note(f"raised by {who}" + (f", {place}" if place else ""))
