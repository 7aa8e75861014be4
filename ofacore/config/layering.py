"""Settings with the places they were written at, laid over one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ofacore.config.problems import NOWHERE, Place, Problem

Path = tuple[str | int, ...]
"""Keys and list numbers from the root."""


def dotted(path: Path) -> str:
    """``("tasks", "a", "losses", 0)`` -> ``tasks.a.losses.0``."""
    return ".".join(str(part) for part in path)


@dataclass
class Layer:
    """Settings of one source, or of several merged."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Path, Place] = field(default_factory=dict)

    def place(self, path: Path) -> Place:
        """Where the value at a path was written, or the nearest section around it that was."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return NOWHERE

    def problem(self, path: Path, message: str, hint: str = "") -> Problem:
        """A problem at a path, with its place."""
        return Problem(dotted(path), message, self.place(path), hint)


def merge(lower: Layer, upper: Layer) -> Layer:
    """The upper layer's values win; sections are merged key by key, lists are replaced.

    A task that the upper layer sets to null is taken out.
    """
    replaced = {path for path, value in _leaves(upper.values) if path}
    kept = {path: place for path, place in lower.places.items() if not _within(path, replaced)}
    merged = Layer(_merged(lower.values, upper.values), {**kept, **upper.places})
    _remove_tasks(merged, lower)
    return merged


def with_defaults_of_star(layer: Layer) -> Layer:
    """Copy the settings of the task ``"*"`` into all tasks, as defaults, and take it out."""
    tasks = layer.values.get("tasks")
    if not isinstance(tasks, dict) or not isinstance(tasks.get("*"), dict):
        return layer
    rest = {name: task for name, task in tasks.items() if name != "*"}
    values = {name: _merged(tasks["*"], task) for name, task in rest.items()}
    below = {
        ("tasks", name, *path[2:]): place
        for path, place in layer.places.items()
        if path[:2] == ("tasks", "*")
        for name in rest
    }
    own = {path: place for path, place in layer.places.items() if path[:2] != ("tasks", "*")}
    return Layer({**layer.values, "tasks": values}, {**below, **own})


def _merged(lower: Any, upper: Any) -> Any:
    if not (isinstance(lower, Mapping) and isinstance(upper, Mapping)):
        return upper
    return {
        **lower,
        **{
            key: _merged(lower[key], value) if key in lower else value
            for key, value in upper.items()
        },
    }


def _leaves(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    if not isinstance(value, Mapping):
        return [(path, value)]
    return [leaf for key, child in value.items() for leaf in _leaves(child, (*path, key))]


def _within(path: Path, roots: set[Path]) -> bool:
    return any(path[:end] in roots for end in range(1, len(path) + 1))


def _remove_tasks(merged: Layer, lower: Layer) -> None:
    before, tasks = lower.values.get("tasks"), merged.values.get("tasks")
    if isinstance(before, dict) and isinstance(tasks, dict):
        merged.values["tasks"] = {
            n: task for n, task in tasks.items() if task is not None or before.get(n) is None
        }
