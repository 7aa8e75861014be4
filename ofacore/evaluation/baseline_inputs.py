"""What quick methods learn from: inputs of rows as the model sees them, texts and numbers as they are written.

What is neither goes through its preprocessor, and the arrays that come out are brought to one size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ofacore.encoding.encoder import Encoder
from ofacore.evaluation.allowance import LEAST_ROWS, Deadline
from ofacore.ground.json_text import json_text
from ofacore.instruction import Contrast
from ofacore.protocols import (
    BaselineTask,
    ContrastTask,
    DenseSegment,
    RowContext,
    RowError,
    SlotPlan,
)
from ofacore.setup.datasets import readable
from ofacore.sources import Source

_CELLS, _NUMBERS = 16, 4096
"""Most places along an axis of an encoded value, but the last, and most numbers in all."""
Row = Mapping[str, Any]


def affordable(encoder: Encoder, train: Source, asked: int, wanted: int, deadline: Deadline) -> int:
    """How many of the wanted training rows can be encoded, beside those that are asked, in half of the time."""
    wanted, half = min(wanted, len(train)), deadline.part(2)
    if half.until is None or wanted <= LEAST_ROWS:
        return wanted
    sources, tried, began = _sources(encoder), 0, half.clock()
    for row in _readable(train, LEAST_ROWS):
        _inputs_or_none(encoder, row, sources)
        tried += 1
    possible = half.rows(wanted + asked, tried, half.clock() - began) - asked
    return max(min(wanted, 2 * LEAST_ROWS), possible)


def baseline_task(
    encoder: Encoder, slot: str, train: Source, rows: Sequence[Row], most: int
) -> BaselineTask | None:
    """What methods learn from for a target slot; None where there are too few rows, or no such slot.

    Args:
        encoder: Of the task.
        slot: Its target.
        train: Training rows.
        rows: What is to be answered, raw.
        most: Training rows that are read at most, evenly spread.
    """
    template = encoder.plan.templates[0]
    target = next((found for found in template.targets() if found.name == slot), None)
    if target is None:
        return None
    sources = _sources(encoder)
    found, targets = [], []
    for row in _readable(train, most):
        try:
            value = encoder.columns.apply(row).get(target.name)
            inputs = _inputs(encoder, row, sources)
        except RowError:
            continue
        if value is not None:
            found.append(inputs)
            targets.append(value)
    if len(found) < LEAST_ROWS:
        return None
    asked = [_inputs_or_none(encoder, row, sources) for row in rows]
    fitted = _pooled([*found, *asked])
    types = {source.name: source.type for source in sources}
    closed = bool(target.attributes.get("closed_set"))
    return BaselineTask(fitted[: len(found)], targets, fitted[len(found) :], types, closed)


def contrast_task(
    encoder: Encoder, train: Source, rows: Sequence[Row], most: int
) -> ContrastTask | None:
    """What methods learn from for a contrast, as `baseline_task`."""
    contrast = encoder.plan.templates[0].contrast
    if contrast is None:
        return None
    sides = [[slot] for slot in _sides(encoder, contrast)]
    both = [slot for side in sides for slot in side]
    found = []
    for row in _readable(train, most):
        pair = _inputs_of_sides(encoder, row, sides)
        if all(pair):
            found.append(pair)
    if len(found) < LEAST_ROWS:
        return None
    asked = [_inputs_of_sides(encoder, row, sides) for row in rows]
    pairs = [*found, *asked]
    left = _pooled([pair[0] for pair in pairs])
    right = _pooled([pair[1] for pair in pairs])
    count, types = len(found), {slot.name: slot.type for slot in both}
    return ContrastTask(left[:count], right[:count], left[count:], right[count:], types)


def _sources(encoder: Encoder) -> list[SlotPlan]:
    slots = encoder.plan.templates[0].slots.values()
    return [slot for slot in slots if slot.side == "source" and slot.plain is None]


def _sides(encoder: Encoder, contrast: Contrast) -> list[SlotPlan]:
    by_name = {slot.name: slot for slot in _sources(encoder)}
    return [by_name[contrast.left.name], by_name[contrast.right.name]]


def _readable(train: Source, most: int) -> Iterator[Row]:
    """Up to so many rows, evenly spread, without those that cannot be read."""
    return (row for _, row in readable(train, most) if not isinstance(row, RowError))


def _inputs_of_sides(
    encoder: Encoder, row: Row, sides: Sequence[Sequence[SlotPlan]]
) -> list[dict[str, Any]]:
    return [_inputs_or_none(encoder, row, side) for side in sides]


def _inputs_or_none(encoder: Encoder, row: Row, slots: Sequence[SlotPlan]) -> dict[str, Any]:
    """Empty where the row cannot be used."""
    try:
        return _inputs(encoder, row, slots)
    except RowError:
        return {}


def _inputs(encoder: Encoder, row: Row, slots: Sequence[SlotPlan]) -> dict[str, Any]:
    """Source slot -> text, number or arrays of its encoded value; the parts of a record each for itself."""
    template = encoder.plan.templates[0]
    ctx = encoder.context(row, template, "test", np.random.default_rng(0))
    found: dict[str, Any] = {}
    for slot in slots:
        if slot.name in ctx.row:
            found |= _of_slot(encoder, slot, ctx)
    return found


def _of_slot(encoder: Encoder, slot: SlotPlan, ctx: RowContext) -> dict[str, Any]:
    value = ctx.row[slot.name]
    if slot.repeat or value is None:
        return {} if value is None else {slot.name: json_text(value)}
    segments = encoder.preprocessors[slot.preprocessor].encode(value, slot, ctx)
    dense = [segment for segment in segments if isinstance(segment, DenseSegment)]
    if dense:
        arrays = [np.asarray(array) for one in dense[:1] for array in one.features.values()]
        largest = max(arrays, key=lambda array: array.size)
        sizes = [min(_CELLS, length) for length in largest.shape[:-1]] + [*largest.shape[-1:]]
        return {slot.name: _resized(largest, sizes)}
    if isinstance(value, str | int | float):
        return {slot.name: value}
    if isinstance(value, Mapping) and all(
        isinstance(part, str | int | float | None) for part in value.values()
    ):
        return {f"{slot.name}.{name}": part for name, part in value.items()}
    return {slot.name: json_text(value)}


def _pooled(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Arrays of each slot brought to one size, as float32 [n]."""
    names = {name for row in rows for name, value in row.items() if isinstance(value, np.ndarray)}
    found = [dict(row) for row in rows]
    for name in names:
        arrays = [row[name] for row in rows if isinstance(row.get(name), np.ndarray)]
        depth = max(array.ndim for array in arrays)
        shape = [_longest(arrays, axis) for axis in range(depth)]
        sizes = [min(_CELLS, size) for size in shape[:-1]] + shape[-1:]
        while np.prod(sizes) > _NUMBERS and max(sizes[:-1], default=1) > 1:
            sizes = [max(1, size // 2) for size in sizes[:-1]] + sizes[-1:]
        for row in found:
            if isinstance(row.get(name), np.ndarray):
                row[name] = _resized(row[name], sizes).ravel()
    return found


def _longest(arrays: Sequence[np.ndarray], axis: int) -> int:
    return max(_length(array, axis) for array in arrays)


def _length(array: np.ndarray, axis: int) -> int:
    return array.shape[axis] if axis < array.ndim else 1


def _resized(array: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Means of as many stretches along each axis as are wanted; a shorter axis repeats its places."""
    array = array.astype(np.float32)
    array = array.reshape(*array.shape, *([1] * (len(sizes) - array.ndim)))
    for axis, size in enumerate(sizes):
        length = array.shape[axis]
        if not length:
            return np.zeros(sizes, np.float32)
        starts = np.arange(size) * length // size
        if length > size:
            counts = np.diff([*starts, length])
            shape = [-1 if one == axis else 1 for one in range(array.ndim)]
            array = np.add.reduceat(array, starts, axis) / counts.reshape(shape)
        elif length < size:
            array = array.take(starts, axis)
    return array.astype(np.float32)
