"""From a raw row to one whose keys are slot names: column map and transforms, at training and inference alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ofacore.data.errors import ColumnError
from ofacore.plugin import suggest

Transform = Callable[[Any], Any]
LoadComponent = Callable[[str, str], Any]
"""``registry.make``: kind, name -> the function, or an instance that has the options of its component."""


@dataclass(frozen=True)
class ColumnMap:
    """What happens to the columns of a row before a template is filled.

    A transform that is declared for a raw column runs before the map, one for a slot name behind it.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    """Slot name -> column, where they differ."""
    transforms: Mapping[str, tuple[Transform, ...]] = field(default_factory=dict)
    """Column or slot name -> functions, in order."""

    @classmethod
    def of(
        cls, columns: Mapping[str, str], transforms: Mapping[str, tuple[str, ...]], load: LoadComponent
    ) -> ColumnMap:
        """With transforms looked up by name.

        Raises:
            UnknownNameError: No transform of that name is installed.
        """
        functions = {key: tuple(load("transform", name) for name in names) for key, names in transforms.items()}
        return cls(dict(columns), functions)

    def apply(self, row: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
        """The new row: all raw columns, and every mapped slot name.

        Args:
            row: The raw row, left unchanged.
            partial: Mapped columns may be missing, as those of the target are at inference.

        Raises:
            ColumnError: A mapped column is missing, or a transform fails.
        """
        result = dict(row)
        if not self.columns and not self.transforms:
            return result
        self._transform(result, [key for key in self.transforms if key not in self.columns])
        mapped = {slot: result[column] for slot, column in self.columns.items() if column in result}
        missing = next((column for column in self.columns.values() if column not in result), None)
        if missing is not None and not partial:
            near = suggest(missing, result) or f"the row has {', '.join(result)}"
            raise ColumnError(missing, f"the column map names it, but the row does not have it; {near}")
        result |= mapped
        self._transform(result, [key for key in self.transforms if key in self.columns])
        return result

    def _transform(self, row: dict[str, Any], keys: list[str]) -> None:
        for key in keys:
            for function in self.transforms[key]:
                if row.get(key) is not None:
                    row[key] = _transformed(function, row[key], key)


def _transformed(function: Transform, value: Any, key: str) -> Any:
    try:
        return function(value)
    except Exception as error:
        function = getattr(function, "func", function)  # with its options
        name = getattr(function, "__name__", type(function).__name__)
        problem = f"transform '{name}' fails on a {type(value).__name__} ({type(error).__name__}: {error})"
        raise ColumnError(key, problem) from error
