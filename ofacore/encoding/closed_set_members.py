"""Members of closed sets: read from files or from a column of a row, and tried on the preprocessors of their slots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ofacore.protocols import Preprocessor, RowContext, RowError, SlotPlan, TokenSegment
from ofacore.sources.base import SourceError
from ofacore.sources.data_errors import ColumnError

_SHOWN = 60


def read_members(slot: str, file: str) -> tuple[str, ...]:
    """Values of a file, one a line; blank lines are passed over.

    Raises:
        SourceError: It cannot be read, or has no values.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise SourceError(
            f"closed set of '{slot}': no file {path}; give one value a line, or a list"
        )
    try:
        lines = path.read_text("utf-8-sig").split("\n")
        values = tuple(dict.fromkeys(line for line in lines if line.strip()))
    except UnicodeDecodeError as error:
        reason = f"{error.reason} at byte {error.start}"
        raise SourceError(
            f"closed set of '{slot}': {path} is not UTF-8 ({reason}); save it as UTF-8"
        ) from error
    if not values:
        raise SourceError(f"closed set of '{slot}': {path} is empty; give one value a line")
    return values


def row_members(row: Mapping[str, Any], slot: str, column: str) -> Sequence[Any]:
    """The values that a column of a row allows for a slot.

    Raises:
        ColumnError: It holds no list of values.
    """
    what = f"it holds the allowed values of '{slot}'"
    given = row.get(column)
    if given is None:
        raise ColumnError(column, f"{what}, but the row does not have it")
    values = given.tolist() if isinstance(given, np.ndarray) else given
    if not isinstance(values, list | tuple):
        remedy = (
            "; the transform 'from_json' or 'split_references' makes one of text"
            if isinstance(given, str)
            else ""
        )
        raise ColumnError(column, f"{what}, which are a list, not a {type(given).__name__}{remedy}")
    if not values:
        raise ColumnError(column, f"{what}, but the list is empty in this row")
    missing = next((place for place, value in enumerate(values) if value is None), None)
    if missing is not None:
        raise ColumnError(column, f"{what}, but value {missing} of its list is missing")
    return values


def usable_members(
    values: Sequence[Any], slots: Sequence[SlotPlan], preprocessors: Mapping[str, Preprocessor]
) -> tuple[Any, ...]:
    """Those members that the preprocessors of all slots take."""
    return tuple(value for value in values if _all_take(slots, value, preprocessors))


def _all_take(
    slots: Sequence[SlotPlan], value: Any, preprocessors: Mapping[str, Preprocessor]
) -> bool:
    return all(_takes(slot, value, preprocessors) for slot in slots)


def member_problem(
    values: Sequence[Any], slots: Sequence[SlotPlan], preprocessors: Mapping[str, Preprocessor]
) -> str:
    """What is wrong with a closed set: a member that a slot refuses, or two that it cannot tell apart; else empty.

    Args:
        values: The members.
        slots: Target slots that choose among them.
        preprocessors: Bound ones, by name.
    """
    for slot in slots:
        try:
            problem = _confused(values, slot, preprocessors)
        except RowError as error:
            return str(error).removeprefix(f"column '{slot.name}': ")
        if problem:
            return problem
    return ""


def _confused(
    values: Sequence[Any], slot: SlotPlan, preprocessors: Mapping[str, Preprocessor]
) -> str:
    seen: dict[bytes, Any] = {}
    for value in values:
        key = _tokens(value, slot, preprocessors[slot.preprocessor])
        if key is None:
            continue
        if key in seen:
            first, second = (f"{known!r:.{_SHOWN}}" for known in (seen[key], value))
            written = ", ".join(_written(slot))
            remedy = (
                f"change its attributes ({written}), or list one of them"
                if written
                else "list one of them"
            )
            return (
                f"{first} and {second} are the same tokens in [{slot.type}:{slot.name}]; {remedy}"
            )
        seen[key] = value
    return ""


def stranger_test(
    members: Sequence[Any], slot: SlotPlan, preprocessors: Mapping[str, Preprocessor]
) -> Callable[[Any], bool]:
    """Tells of a value whether a slot reads it as none of the members of its closed set."""
    preprocessor = preprocessors[slot.preprocessor]
    known = {_tokens(member, slot, preprocessor) for member in members}
    return lambda value: _read(value, slot, preprocessor) not in known


def _read(value: Any, slot: SlotPlan, preprocessor: Preprocessor) -> bytes | None:
    """The ids of a value; of one that the slot refuses no member's."""
    try:
        return _tokens(value, slot, preprocessor)
    except RowError:
        return b""


def _takes(slot: SlotPlan, value: Any, preprocessors: Mapping[str, Preprocessor]) -> bool:
    try:
        _tokens(value, slot, preprocessors[slot.preprocessor])
    except RowError:
        return False
    return True


def _tokens(value: Any, slot: SlotPlan, preprocessor: Preprocessor) -> bytes | None:
    """The ids of a member, as bytes; None if it is not made of tokens alone."""
    attributes = {key: given for key, given in slot.attributes.items() if key != "closed_set"}
    ctx = RowContext({slot.name: value}, "", "infer", np.random.default_rng(0))
    segments = preprocessor.encode(value, replace(slot, attributes=attributes, loss=False), ctx)
    ids = [segment.ids for segment in segments if isinstance(segment, TokenSegment)]
    return np.concatenate(ids).tobytes() if ids and len(ids) == len(segments) else None


def _written(slot: SlotPlan) -> Iterator[str]:
    """Attributes that may change a value: flags and numbers."""
    for name, value in slot.attributes.items():
        if (
            name != "closed_set"
            and value is not None
            and value is not False
            and not isinstance(value, str)
        ):
            yield name if value is True else f"{name}={value}"
