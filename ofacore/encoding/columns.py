"""From a raw row to one whose keys are slot names: column map and transforms, at training and inference alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ofacore.encoding.nested import NoPlaceError, root_of, value_at
from ofacore.ground.excerpts import cut, excerpt, listing
from ofacore.plan.lookups import ALL
from ofacore.plugin import suggest
from ofacore.sources.data_errors import ColumnError
from ofacore.sources.value_files import file_value

Transform = Callable[[Any], Any]
LoadComponent = Callable[[str, str], Any]
"""``registry.make``: kind, name -> the function, or an instance that has the options of its component."""


@dataclass(frozen=True)
class ColumnMap:
    """What happens to the columns of a row before a template is filled.

    A transform that is declared for a raw column runs before the map, one for a slot name behind it.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    """Slot name -> column, or a place inside of one, where they differ."""
    transforms: Mapping[str, tuple[Transform, ...]] = field(default_factory=dict)
    """Column or slot name -> functions, in order."""
    files: tuple[str, ...] = ()
    """Slots whose values may name files."""
    read: frozenset[str] = frozenset()
    """Columns that something else reads, which a slot that takes all others does not get."""

    @classmethod
    def of(
        cls,
        columns: Mapping[str, str],
        transforms: Mapping[str, tuple[str, ...]],
        load: LoadComponent,
        files: Iterable[str] = (),
        read: Iterable[str] = (),
    ) -> ColumnMap:
        """With transforms looked up by name.

        Args:
            columns: Slot name -> column.
            transforms: Column or slot name -> names of transforms.
            load: Gives the function of a name.
            files: Slots whose values may name files.
            read: Columns that a slot which takes all others does not get.

        Raises:
            UnknownNameError: No transform of that name is installed.
        """
        functions = {}
        for key, names in transforms.items():
            functions[key] = tuple(load("transform", name) for name in names)
        return cls(dict(columns), functions, tuple(files), frozenset(read))

    def apply(self, row: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
        """The new row: all raw columns, and every mapped slot name.

        Args:
            row: The raw row, left unchanged.
            partial: Values may stand under the names of their slots, as they do at inference.

        Raises:
            ColumnError: A transform fails, or a path leads through a value that has no inside.
        """
        result = dict(row)
        if self.columns or self.transforms:
            self._transform(result, [key for key in self.transforms if key not in self.columns])
            result |= self._mapped(result, partial)
            self._transform(result, [key for key in self.transforms if key in self.columns])
        for slot in self.files:
            if slot in result:
                result[slot] = file_value(result[slot])
        return result

    def missing(self, slot: str, row: Mapping[str, Any]) -> str:
        """Why a mapped slot has no value in a row: its column is missing, with what may be meant; else empty."""
        column = self.columns.get(slot)
        if column is None or column == ALL:
            return ""
        if root_of(column, row) in row:
            return _no_place(row, column)
        near = suggest(column, row) or f"the row has {listing(row)}"
        return f"the column map names '{column}', but the row does not have it; {near}"

    def _mapped(self, row: Mapping[str, Any], partial: bool) -> dict[str, Any]:
        """Slot -> value of its column; None where the row lacks the column."""
        found: dict[str, Any] = {}
        for slot, column in self.columns.items():
            if column == ALL:
                if not (partial and slot in row):
                    found[slot] = self._others(row)
                continue
            try:
                found[slot] = row[column] if column in row else value_at(row, column)
            except NoPlaceError:
                found[slot] = None
            except KeyError:
                if not partial:
                    found[slot] = None
        return found

    def _others(self, row: Mapping[str, Any]) -> dict[str, Any] | None:
        """The columns that nothing else reads; None where there are none."""
        return {name: value for name, value in row.items() if name not in self.read} or None

    def _transform(self, row: dict[str, Any], keys: list[str]) -> None:
        for key in keys:
            for function in self.transforms[key]:
                if row.get(key) is not None:
                    row[key] = _transformed(function, row[key], key)


def _no_place(row: Mapping[str, Any], column: str) -> str:
    """Which name a path does not find; empty if it finds all."""
    try:
        value_at(row, column)
    except NoPlaceError as error:
        return error.reason
    return ""


def is_empty_text(value: Any) -> bool:
    """Whether a value is a text without letters."""
    return isinstance(value, str) and not value.strip()


def _transformed(function: Transform, value: Any, key: str) -> Any:
    try:
        return function(value)
    except Exception as error:
        function = getattr(function, "func", function)  # with its options
        name = getattr(function, "__name__", type(function).__name__)
        reason = cut(f"{type(error).__name__}: {error}", 300)
        problem = (
            f"transform '{name}' fails on a {type(value).__name__}, {excerpt(value)} ({reason})"
        )
        raise ColumnError(key, problem) from error
