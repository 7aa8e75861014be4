"""Whose code failed: an exception that comes out of a component is given a note that names its plugin and place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    except (
        Exception
    ):  # whatever is wrong with the registry is told elsewhere; here another error is being told
        return told
    return owned(row, kind, name)


def owned(row: Any, kind: str, name: str) -> str:
    """As `who`, for a component of a known plugin's row."""
    return f"{kind} '{name}' of plugin '{row.name}' ({row.distribution} {row.version})"


class Blame:
    """Gives whatever is raised inside a note of who raised it; a class, as every call of a component enters one."""

    __slots__ = ("_place", "_who")

    def __init__(self, who: str, place: str | Callable[[], str] = "") -> None:
        self._who, self._place = who, place

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if isinstance(error, Exception):
            place = self._place if isinstance(self._place, str) else self._place()
            blame(error, self._who, place)


@dataclass(frozen=True)
class Blamed:
    """A function of a plugin, that gives what it raises such a note. Picklable where the function is."""

    function: Callable[..., Any]
    who: str
    place: str = ""

    def __call__(self, *arguments: Any) -> Any:
        with Blame(self.who, self.place):
            return self.function(*arguments)


def blame(error: Exception, who: str, place: str = "") -> None:
    """Note who raised an error, or, where somebody nearer to it was named before, who had called that."""
    notes = getattr(error, "__notes__", ())
    named = any(note.startswith("raised by ") for note in notes)
    if named and (not place or any(f"by {who}" in note for note in notes)):
        return
    told = f"called by {who}" if named else f"raised by {who}"
    if place:
        told = f"{told}, {place}"
    error.add_note(told)
