"""What a score is compared with: the preset's own baseline, and quick methods that are fitted on the same rows.

The methods are components of the kind ``baseline``. They see what the model sees of a row: texts and numbers as they
are written, anything else as its preprocessor encodes it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ofacore.batching.permutation import item_rng
from ofacore.encoding.encoder import Encoder
from ofacore.evaluation.embedded import sides
from ofacore.evaluation.evaluation_errors import MetricError, reason_of
from ofacore.evaluation.judging import Answered, Judging
from ofacore.evaluation.references import TargetValues
from ofacore.evaluation.scoring import blaming, checked_needs, filled
from ofacore.ground.json_text import json_text
from ofacore.plan import TaskPlan
from ofacore.protocols import (
    BaselineTask,
    DenseSegment,
    RowContext,
    RowError,
    SlotPlan,
)
from ofacore.setup.assembly import Assembly
from ofacore.setup.datasets import TaskRows, readable

logger = logging.getLogger("ofacore.training")
MOST_ROWS, LEAST_ROWS = 3_000, 20
"""Training rows that a method sees, and from which on it is fitted."""
_CELLS, _NUMBERS = 16, 4096
"""Most places along an axis of an encoded value, but the last, and most numbers in all."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Compared:
    """One baseline of a task, scored by the task's first metric."""

    metric: str
    doc: str
    score: float
    seconds: float
    """That it took to fit and answer; 0 for a preset's own."""
    rows: Sequence[Row]
    """Its answer for each row."""


def compared(
    assembly: Assembly, plan: TaskPlan, data: TaskRows, limit: int | None = None
) -> list[Compared]:
    """Every baseline of a task on up to ``limit`` rows of the test split, best first."""
    test = data.splits.get("test")
    if test is None:
        return []
    named = [(i, row) for i, row in readable(test, limit) if not isinstance(row, RowError)]
    own = data.baseline_rows()
    chosen = None
    if own is not None and len(own) == len(test):
        chosen = [own[i] for i, _ in named]
    return ranked(assembly, plan, data, [row for _, row in named], chosen)


def best_baseline(
    assembly: Assembly,
    plan: TaskPlan,
    data: TaskRows,
    rows: Sequence[Row],
    own: Sequence[Row] | None,
) -> tuple[Sequence[Row] | None, str]:
    """The answers of the best baseline and what it does, as `ranked`; the preset's own where no method is installed."""
    if assembly.registry.names("baseline"):
        for best in ranked(assembly, plan, data, rows, own):
            return best.rows, best.doc
    return own, data.baseline_doc


def ranked(
    assembly: Assembly,
    plan: TaskPlan,
    data: TaskRows,
    rows: Sequence[Row],
    own: Sequence[Row] | None,
) -> list[Compared]:
    """The preset's own baseline and the fitted ones, for some rows, best first; one that fails is told and left out.

    Args:
        assembly: Plans and fitted preprocessors.
        plan: The task.
        data: Its training rows.
        rows: What is answered, raw.
        own: What the preset's baseline answers; None: it has none.
    """
    if not rows or not plan.metrics or sides(plan) is not None:
        return []
    use = plan.metrics[0]
    metric = assembly.registry.load("metric", use.metric)
    if checked_needs(metric, use.metric):
        return []
    answers: list[tuple[str, float, list[Row]]] = []
    if own is not None:
        answers.append((data.baseline_doc, 0.0, list(own)))
    names = assembly.registry.names("baseline")
    task = _task(assembly, plan, data, rows) if names else None
    for name in names if task is not None else ():
        started = time.perf_counter()
        try:
            found = assembly.registry.make("baseline", name)(task)
            if found is not None and len(found.values) != len(rows):
                raise ValueError(f"it gives {len(found.values)} answers for {len(rows)} rows")
        except Exception as error:  # a baseline is anybody's code, and must not cost the scores
            told = reason_of(error)
            logger.warning("task '%s': baseline '%s' is left out: %s", plan.name, name, told)
            continue
        if found is not None and found.name not in [doc for doc, _, _ in answers]:
            predicted: list[Row] = [{use.slot: value} for value in found.values]
            answers.append((found.name, time.perf_counter() - started, predicted))
    scored = []
    for doc, seconds, given in answers:
        try:
            value = _score(assembly, plan, rows, given)
        except MetricError as error:
            logger.warning("task '%s': baseline '%s': %s", plan.name, doc, error.reason)
            continue
        scored.append(Compared(use.metric, doc, value, seconds, given))
    return sorted(scored, key=lambda one: one.score, reverse=metric.higher_is_better)


def _task(
    assembly: Assembly, plan: TaskPlan, data: TaskRows, rows: Sequence[Row]
) -> BaselineTask | None:
    """What methods learn from; None where there are too few rows, or the slot is repeated."""
    encoder, use = assembly.encoder(plan), plan.metrics[0]
    template = plan.templates[0]
    target = next((slot for slot in template.targets() if slot.name == use.slot), None)
    if data.train is None or target is None or target.repeat:
        return None
    train, targets = [], []
    for _, row in readable(data.train, rows_seen(assembly)):
        if isinstance(row, RowError):
            continue
        try:
            value = encoder.columns.apply(row).get(target.name)
            inputs = _inputs(encoder, row)
        except RowError:
            continue
        if value is not None:
            train.append(inputs)
            targets.append(value)
    if len(train) < LEAST_ROWS:
        return None
    asked = [_inputs_or_none(encoder, row) for row in rows]
    types = {slot.name: slot.type for slot in template.slots.values() if slot.side == "source"}
    fitted = _pooled([*train, *asked])
    closed = bool(target.attributes.get("closed_set"))
    return BaselineTask(fitted[: len(train)], targets, fitted[len(train) :], types, closed)


def rows_seen(assembly: Assembly) -> int:
    """Rows that a method sees: no more than the run takes samples of a task."""
    train, tasks = assembly.config.train, max(1, len(assembly.plans))
    return max(1, min(MOST_ROWS, train.steps * train.samples // tasks))


def _inputs_or_none(encoder: Encoder, row: Row) -> dict[str, Any]:
    try:
        return _inputs(encoder, row)
    except RowError:
        return {}


def _inputs(encoder: Encoder, row: Row) -> dict[str, Any]:
    """Source slot -> text, number or arrays of its encoded value; the parts of a record each for itself."""
    template = encoder.plan.templates[0]
    ctx = encoder.context(row, template, "test", np.random.default_rng(0))
    found: dict[str, Any] = {}
    for slot in template.slots.values():
        if slot.side == "source" and slot.plain is None and slot.name in ctx.row:
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
        shape = [max(_length(array, axis) for array in arrays) for axis in range(depth)]
        sizes = [min(_CELLS, size) for size in shape[:-1]] + shape[-1:]
        while np.prod(sizes) > _NUMBERS and max(sizes[:-1], default=1) > 1:
            sizes = [max(1, size // 2) for size in sizes[:-1]] + sizes[-1:]
        for row in found:
            if isinstance(row.get(name), np.ndarray):
                row[name] = _resized(row[name], sizes).ravel()
    return found


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


def _score(
    assembly: Assembly, plan: TaskPlan, rows: Sequence[Row], predicted: Sequence[Row]
) -> float:
    """The first number of the first metric."""
    encoder, use = assembly.encoder(plan), plan.metrics[0]
    answered = []
    with blaming(plan.name, use):
        for number, (row, prediction) in enumerate(zip(rows, predicted, strict=True)):
            rng = item_rng(0, plan.name, 0, number)
            try:
                ctx = encoder.context(row, plan.templates[0], "test", rng)
            except RowError:
                continue  # evaluation tells of it
            answered.append(Answered(f"row {number}", row, ctx, {}, prediction))
        judging = Judging(TargetValues.of(encoder), answered, assembly.registry)
        judged, kept, _ = judging.judged(use)
        judged, _, _ = judging.accepted(
            replace(judged, predictions=judged.baseline or []), use, kept
        )
        values = filled(judged, use, assembly.registry, judged.predictions).compute()
    return next(iter(values.values()), float("nan"))
