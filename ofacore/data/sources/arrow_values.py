"""Values of Arrow columns as a program wants them: classes by name, small floats without the digits they never had.

Hugging Face describes the columns of its datasets in the metadata of the schema, in files of Parquet too: that is where
the names of classes stand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofacore.data.sources.base import Row
from ofacore.excerpts import excerpt
from ofacore.protocols import RowError

Convert = Callable[[Any], Any]
_SHORT_LIST = 64
"""Longer lists of numbers are arrays, not values that are written out as text; they stay as they are."""


@dataclass(frozen=True)
class ArrowValues:
    """Converts the columns of a row that need it."""

    columns: Mapping[str, Convert]

    def __call__(self, row: Row) -> Row:
        for key, convert in self.columns.items():
            value = row.get(key)
            if value is not None:
                try:
                    row[key] = convert(value)
                except RowError as error:
                    raise RowError(f"column '{key}': {error}") from error
        return row


@dataclass(frozen=True)
class ClassName:
    """The name of a class, or of each class of a list; a negative number, as unlabelled rows have, is None."""

    names: tuple[str, ...]

    def __call__(self, value: Any) -> Any:
        if isinstance(value, str):
            return value
        if isinstance(value, Sequence) or (hasattr(value, "ndim") and value.ndim):
            return [self(part) for part in value]
        if value is None or int(value) < 0:
            return None
        if int(value) >= len(self.names):
            raise RowError(f"{excerpt(value)} is no class; there are 0 to {len(self.names) - 1}")
        return self.names[int(value)]


@dataclass(frozen=True)
class ShortestFloat:
    """The shortest decimal number that becomes the same number of the column's type again: .1, not .10000000149."""

    type: str
    """``float32`` or ``float16``."""

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self(part) for part in value] if len(value) <= _SHORT_LIST else value
        return float(str(np.dtype(self.type).type(value))) if isinstance(value, float) else value


def conversions(schema: Any, described: Mapping[str, Any] | None = None) -> ArrowValues | None:
    """What the columns of a schema need; None if nothing.

    Args:
        schema: ``pyarrow.Schema``.
        described: Column -> description as Hugging Face writes it; None: what the schema's metadata say.
    """
    features = _features(schema) if described is None else described
    found: dict[str, Convert] = {}
    for field in schema:
        names = _class_names(features.get(field.name))
        if names:
            found[field.name] = ClassName(names)
        elif kind := _small_float(field.type):
            found[field.name] = ShortestFloat(kind)
    return ArrowValues(found) if found else None


def _small_float(kind: Any) -> str:
    import pyarrow

    while pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        kind = kind.value_type
    return {"float": "float32", "halffloat": "float16"}.get(str(kind), "")


def _features(schema: Any) -> Mapping[str, Any]:
    try:
        return dict(json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"])
    except (KeyError, TypeError, ValueError):
        return {}


def _class_names(described: Any) -> tuple[str, ...]:
    """Names of the classes of a column, or of a column of lists of classes; else empty."""
    if isinstance(described, list) and len(described) == 1:
        return _class_names(described[0])
    if not isinstance(described, Mapping):
        return ()
    if described.get("_type") in ("Sequence", "List", "LargeList"):
        return _class_names(described.get("feature"))
    names = described.get("names") if described.get("_type") == "ClassLabel" else None
    return tuple(map(str, names)) if isinstance(names, list) else ()
