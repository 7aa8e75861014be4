"""Entries as JSON, so that a model can be written back without the configuration that it came with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ofa_foreign.formats.mapping import Ahead, Entry, Heads, Reshaped, Rolled, Same

_KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind for kind in (Ahead, Heads, Reshaped, Rolled, Same)
}


def to_json(entries: Iterable[Entry]) -> list[list[Any]]:
    """``[kind, fields]`` of each entry."""
    return [[type(entry).__name__, asdict(entry)] for entry in entries]  # type: ignore[call-overload]


def from_json(stored: Sequence[Sequence[Any]]) -> list[Entry]:
    """The entries whose `to_json` this is."""
    return [_entry(kind, fields) for kind, fields in stored]


def _entry(kind: str, fields: Mapping[str, Any]) -> Entry:
    made: Entry = _KINDS[kind](**{key: _tuple(value) for key, value in fields.items()})
    return made


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
