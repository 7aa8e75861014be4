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

from ofacore.ground.excerpts import excerpt
from ofacore.protocols import RowError
from ofacore.sources.base import Row

Convert = Callable[[Any], Any]
_LISTS = ("Sequence", "List", "LargeList")
"""Descriptions of lists."""
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


@dataclass(frozen=True)
class EachOf:
    """Converts the values of a list."""

    convert: Convert

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [None if part is None else self.convert(part) for part in value]


@dataclass(frozen=True)
class FieldsOf:
    """Converts some fields of an object."""

    fields: Mapping[str, Convert]

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        found = dict(value)
        for name, convert in self.fields.items():
            if found.get(name) is not None:
                found[name] = convert(found[name])
        return found


@dataclass(frozen=True)
class PairsOf:
    """Makes an object of the pairs that Arrow gives for a map."""

    convert: Convert | None

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        found: dict[str, Any] = {}
        for key, part in value:
            name = str(key)
            if name in found:
                raise RowError(f"the map holds the key {excerpt(name)} twice")
            found[name] = part if part is None or self.convert is None else self.convert(part)
        return found


@dataclass(frozen=True)
class ShapeOf:
    """Gives a tensor the shape that its column's type tells."""

    shape: tuple[int, ...]
    type: str

    def __call__(self, value: Any) -> Any:
        return (
            np.asarray(value, self.type).reshape(self.shape) if isinstance(value, list) else value
        )


def conversions(schema: Any, described: Mapping[str, Any] | None = None) -> ArrowValues | None:
    """What the columns of a schema need; None if nothing.

    Args:
        schema: ``pyarrow.Schema``.
        described: Column -> description as Hugging Face writes it; None: what the schema's metadata say.
    """
    features = _features(schema) if described is None else described
    found: dict[str, Convert] = {}
    for field in schema:
        convert = _conversion(field.type, features.get(field.name))
        if convert is not None:
            found[field.name] = convert
    return ArrowValues(found) if found else None


def _conversion(kind: Any, described: Any) -> Convert | None:
    """What values of a type need, at any depth; None if nothing."""
    from pyarrow import types

    names = _class_names(described)
    if names:
        return ClassName(names)
    if getattr(kind, "extension_name", "") == "arrow.fixed_shape_tensor":
        return ShapeOf(tuple(kind.shape), str(np.dtype(kind.value_type.to_pandas_dtype())))
    small = _small_float(kind)
    if small:
        return ShortestFloat(small)
    if types.is_map(kind):
        return PairsOf(_conversion(kind.item_type, None))
    if types.is_struct(kind):
        return _of_struct(kind, described)
    if _is_list(kind):
        inner = _conversion(kind.value_type, _described_inside(described))
        return None if inner is None else EachOf(inner)
    return None


def _of_struct(kind: Any, described: Any) -> Convert | None:
    fields = _described_inside(described)
    known = fields if isinstance(fields, Mapping) else {}
    found = {field.name: _conversion(field.type, known.get(field.name)) for field in kind}
    needed = {name: convert for name, convert in found.items() if convert is not None}
    return FieldsOf(needed) if needed else None


def _described_inside(described: Any) -> Any:
    """The description of what a list holds; that of an object as it is."""
    if isinstance(described, list) and len(described) == 1:
        return described[0]
    if isinstance(described, Mapping) and described.get("_type") in _LISTS:
        return described.get("feature")
    return described


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _small_float(kind: Any) -> str:
    """The type of the numbers of a column, or of its lists, where it is a small float; else empty."""
    while True:
        inner = getattr(kind, "storage_type", None) or (kind.value_type if _is_list(kind) else None)
        if inner is None:
            return {"float": "float32", "halffloat": "float16"}.get(str(kind), "")
        kind = inner


def _features(schema: Any) -> Mapping[str, Any]:
    try:
        return dict(
            json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        )
    except (KeyError, TypeError, ValueError):
        return {}


def _class_names(described: Any) -> tuple[str, ...]:
    """Names of the classes of a column, or of a column of lists of classes; else empty."""
    if isinstance(described, list) and len(described) == 1:
        return _class_names(described[0])
    if not isinstance(described, Mapping):
        return ()
    if described.get("_type") in _LISTS:
        return _class_names(described.get("feature"))
    names = described.get("names") if described.get("_type") == "ClassLabel" else None
    return tuple(map(str, names)) if isinstance(names, list) else ()
