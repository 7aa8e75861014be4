"""Metrics are tried before training: on references of two rows, as the model would write them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofacore.assembly import Assembly, TaskData
from ofacore.config.errors import ConfigError, Problem
from ofacore.data.columns import ColumnMap
from ofacore.data.encode import Encoder
from ofacore.data.expand import Filled
from ofacore.data.permutation import item_rng
from ofacore.data.runs import Occurrence
from ofacore.evaluate.errors import reason_of
from ofacore.plan import TaskPlan
from ofacore.plugin import MetricUse, Registry
from ofacore.protocols import Hypothesis, Metric, RowContext, RowError, SlotPlan, TokenSegment

logger = logging.getLogger("ofacore.train")
ROWS = 2
LOOKED_AT = 20
"""Rows that are read in search of `ROWS` usable ones."""


@dataclass(frozen=True)
class Tried:
    """A metric that judged some references."""

    task: str
    names: tuple[str, ...]
    """What it reports, the score first; empty where that could not be found out."""
    higher_is_better: bool


@dataclass(frozen=True)
class _Trial:
    """A row with its references in place of predictions."""

    row: Mapping[str, Any]
    predicted: Mapping[str, Any]
    exact: frozenset[str]
    """Slots whose value went through tokens and back, so that it looks as a generated one does."""


def try_metrics(assembly: Assembly, data: Mapping[str, TaskData]) -> list[Tried]:
    """Let every metric of every task judge a few references against themselves.

    Only what cannot work is an error: values that go through tokens and back are what generation gives. Anything else,
    and a metric that computes nothing from so few rows, is a warning.

    Raises:
        ConfigError: With every metric that does not fit its slot.
    """
    problems: list[Problem] = []
    tried: list[Tried] = []
    for name, plan in assembly.plans.items():
        trials = list(_trials(assembly, plan, data[name])) if plan.metrics and name in data else []
        for number, use in enumerate(plan.metrics if trials else ()):
            found = _try(name, use, trials, assembly.registry)
            if isinstance(found, Tried):
                tried.append(found)
            else:
                problems.append(Problem(f"tasks.{name}.metrics.{number}", _message(plan, use, found)))
    if problems:
        raise ConfigError(problems)
    return tried


def _message(plan: TaskPlan, use: MetricUse, error: Exception) -> str:
    slot = plan.templates[0].named(use.slot)
    what = f"{slot.type} values of slot '{use.slot}'" if slot else f"slot '{use.slot}'"
    return f"metric '{use.metric}' does not fit the {what} ({reason_of(error)}); choose another, or take it out"


def _try(task: str, use: MetricUse, trials: Sequence[_Trial], registry: Registry) -> Tried | Exception:
    """What the metric reports, or why it cannot be used."""
    try:  # a metric is anybody's code: it may raise anything
        metric: Metric = registry.make("metric", use.metric, use.options)
    except Exception as error:
        return error
    forced = bool(getattr(metric, "needs", ""))
    rows = [{**t.row, **{f"predicted:{n}": v for n, v in t.predicted.items()}} for t in trials]
    predictions = [_log_probs(metric, t.row) if forced else t.predicted.get(use.slot) for t in trials]
    references = [row.get(use.references or use.slot) for row in rows]
    names: tuple[str, ...] = ()
    try:
        metric.update(predictions, references, rows)
    except Exception as error:
        if forced or all(use.slot in t.exact for t in trials):
            return error
        logger.warning("task '%s': metric '%s' may not fit slot '%s': %s", task, use.metric, use.slot, reason_of(error))
        return Tried(task, names, metric.higher_is_better)
    try:
        names = tuple(metric.compute())
    except Exception as error:
        logger.warning("task '%s': metric '%s' gives nothing on 2 rows: %s", task, use.metric, reason_of(error))
    return Tried(task, names, metric.higher_is_better)


def _log_probs(metric: Metric, row: Mapping[str, Any]) -> list[float]:
    """As many numbers as a metric gets that judges log-probabilities: of tokens, or of a row's candidates."""
    column = getattr(metric, "candidates", "")
    return [-0.5] * (len(row.get(column) or ()) if column else 2)


def _trials(assembly: Assembly, plan: TaskPlan, data: TaskData) -> Iterator[_Trial]:
    """Up to `ROWS` rows that can be encoded, of the held-out rows or else of the training rows."""
    source = data.held_out() or data.train
    encoder, columns = assembly.encoder(plan), ColumnMap.of(plan.columns, plan.transforms, assembly.registry.make)
    found = 0
    for index in range(min(LOOKED_AT, len(source) if source is not None else 0)):
        try:
            assert source is not None
            raw = source[index]
            yield _trial(encoder, raw, columns.apply(raw), index)
        except RowError:
            continue
        found += 1
        if found == ROWS:
            return


def _trial(encoder: Encoder, raw: Mapping[str, Any], row: Mapping[str, Any], index: int) -> _Trial:
    template = encoder.plan.templates[0]
    ctx = encoder.context(raw, template, "test", item_rng(0, encoder.plan.name, 0, index))
    expanded = encoder.expand(template, ctx)
    filled = [item for items in (*expanded.sources, expanded.target) for item in items if isinstance(item, Filled)]
    filled = [item for item in filled if item.value is not None]
    values: dict[str, Any] = {slot.name: [] for slot in template.targets() if slot.repeat}
    inexact: set[str] = set()
    for occurrence in encoder.occurrences(filled, ctx, template).values():
        slot = occurrence.item.slot
        if slot.side == "target" and slot.loss and slot.plain is None:
            value, exact = _as_generated(encoder, slot, occurrence, ctx)
            inexact |= set() if exact else {slot.name}
            values[slot.name] = [*values[slot.name], value] if slot.repeat else value
    return _Trial(row, values, frozenset(values) - inexact)


def _as_generated(encoder: Encoder, slot: SlotPlan, occurrence: Occurrence, ctx: RowContext) -> tuple[Any, bool]:
    """A value as it comes back from its tokens, and whether it has any."""
    parts = [segment.ids for segment in occurrence.segments if isinstance(segment, TokenSegment)]
    if not parts or len(parts) < len(occurrence.segments):
        return occurrence.item.value, False
    return encoder.preprocessors[slot.preprocessor].decode(Hypothesis(np.concatenate(parts)), slot, ctx), True
