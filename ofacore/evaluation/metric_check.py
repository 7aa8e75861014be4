"""Metrics are tried before training: on references of two rows, as the model would write them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ofacore.batching.permutation import item_rng
from ofacore.config.problems import ConfigError, Problem
from ofacore.evaluation.embedded import example_sides, judged_sides, misplaced, sides
from ofacore.evaluation.evaluation_errors import MetricError, reason_of
from ofacore.evaluation.judging import Answered, Judging
from ofacore.evaluation.naming import called
from ofacore.evaluation.references import Reference, TargetValues
from ofacore.evaluation.scoring import (
    blaming,
    checked_needs,
    filled,
    fitting_answer,
    reference_column,
)
from ofacore.ground.errors import UserError
from ofacore.plan import TaskPlan
from ofacore.plugin import MetricUse, Registry
from ofacore.protocols import Metric, RowError, seen_as
from ofacore.setup.assembly import Assembly
from ofacore.setup.datasets import TaskRows, spread
from ofacore.sources import Source

logger = logging.getLogger("ofacore.training")
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


def try_metrics(assembly: Assembly, data: Mapping[str, TaskRows]) -> list[Tried]:
    """Let every metric of every task judge a few references against themselves.

    Only what cannot work is an error: values that go through tokens and back are what generation gives. Anything else,
    and a metric that computes nothing from so few rows, is a warning.

    Raises:
        ConfigError: With every metric that does not fit its slot.
    """
    problems: list[Problem] = []
    tried: list[Tried] = []
    for name, plan in assembly.plans.items():
        wrong = _misplaced(plan, assembly)
        problems += wrong
        if wrong:
            continue
        trying = _tried_slots if sides(plan) is None else _tried_sides
        for number, result in enumerate(trying(plan, assembly, data.get(name))):
            if isinstance(result, Tried):
                tried.append(_named(result, number, plan))
            else:
                problems.append(Problem(f"tasks.{name}.metrics.{number}", result))
    if problems:
        raise ConfigError(problems)
    return tried


def _named(tried: Tried, number: int, plan: TaskPlan) -> Tried:
    """With the names that its numbers have among those of the task."""
    return replace(tried, names=tuple(called(name, number, plan.metrics) for name in tried.names))


def _misplaced(plan: TaskPlan, assembly: Assembly) -> list[Problem]:
    """Metrics of embeddings that have none, and others that have nothing else."""
    told = [misplaced(use, plan, assembly.registry) for use in plan.metrics]
    return [
        Problem(f"tasks.{plan.name}.metrics.{number}.slot", text)
        for number, text in enumerate(told)
        if text
    ]


def _tried_slots(
    plan: TaskPlan, assembly: Assembly, data: TaskRows | None
) -> Iterator[Tried | str]:
    """Metrics of slots, tried on references, or why they do not fit; nothing where no row can be used."""
    rows = _rows(assembly, plan, data) if plan.metrics and data is not None else []
    judging = Judging(TargetValues.of(assembly.encoder(plan)), rows, assembly.registry)
    if not rows:
        return
    for use in plan.metrics:
        found = _try(use, judging)
        if isinstance(found, Tried):
            yield found
        else:
            yield _message(plan, use, found, assembly.registry)


def _tried_sides(
    plan: TaskPlan, assembly: Assembly, data: TaskRows | None
) -> Iterator[Tried | str]:
    """Metrics of embeddings, tried on rows with vectors that are made up, or why they do not fit."""
    source = None if data is None else data.held_out() or data.train
    rows = [] if source is None else _mapped_rows(assembly, plan, source)
    for use in plan.metrics:
        judged = judged_sides(use, plan, rows, example_sides(len(rows)))
        try:
            with blaming(plan.name, use):
                metric = filled(judged, use, assembly.registry, judged.predictions)
                names = tuple(metric.compute()) if rows else ()
                yield Tried(plan.name, names, metric.higher_is_better)
        except MetricError as error:
            yield str(error)


def _mapped_rows(assembly: Assembly, plan: TaskPlan, source: Source) -> list[Mapping[str, Any]]:
    """Up to `ROWS` rows that have both sides of the contrast."""
    encoder, found = assembly.encoder(plan), list[Mapping[str, Any]]()
    for index in spread(len(source), LOOKED_AT):
        try:
            row = encoder.columns.apply(source[index])
        except RowError:
            continue
        if all(row.get(side) is not None for side in sides(plan) or ()):
            found.append(row)
        if len(found) == ROWS:
            break
    return found


def _message(plan: TaskPlan, use: MetricUse, error: Exception, registry: Registry) -> str:
    slot = plan.templates[0].named(use.slot)
    what, other = f"slot '{use.slot}'", "another"
    if slot is not None:
        what = f"{slot.type} values of {what}"
    if slot is not None and slot.repeat:
        what = f"lists of {what}, which stands in a repeat"
        usual = registry.slot(slot.type).default_metrics.get("repeat", "")
        other += f", such as '{usual}'" if usual else ""
    return f"metric '{use.metric}' does not fit the {what} ({reason_of(error)}); choose {other}, or take it out"


def _try(use: MetricUse, judging: Judging) -> Tried | Exception:
    """What the metric reports, or why it cannot be used."""
    task, registry = judging.values.encoder.plan.name, judging.registry
    try:  # a metric is anybody's code: it may raise anything
        metric: Metric = registry.make("metric", use.metric, use.options)
        judged, _, _ = judging.judged(use)
    except Exception as error:
        if isinstance(error, UserError) and _is_somewhere(use, judging):
            logger.warning("task '%s', metric '%s': of some rows, %s", task, use.metric, error)
            return Tried(task, (), metric.higher_is_better)
        return error
    forced = bool(checked_needs(metric, use.metric))
    if forced:
        judged = replace(judged, answers=[(_log_probs(metric, row),) for row in judged.rows])
    fitting = [fitting_answer(judged, place, use, registry) for place in range(len(judged.rows))]
    chosen = [place for place, (_, reason) in enumerate(fitting) if not reason][:ROWS] or [0]
    predictions = [{**judged.predictions[place], use.slot: fitting[place][0]} for place in chosen]
    judged = replace(judged, rows=[judged.rows[place] for place in chosen], predictions=predictions)
    if fitting[chosen[0]][1]:
        return _unfit(use, judging, fitting[chosen[0]][1], forced)
    metric = filled(judged, use, registry, judged.predictions)
    names: tuple[str, ...] = ()
    try:
        names = tuple(metric.compute())
    except Exception as error:
        logger.warning(
            "task '%s': metric '%s' gives nothing on 2 rows: %s", task, use.metric, reason_of(error)
        )
    return Tried(task, names, metric.higher_is_better)


def _unfit(use: MetricUse, judging: Judging, reason: str, forced: bool) -> Tried | Exception:
    """An error where values look as generated ones do: those of tokens, and log-probabilities. Else a warning."""
    if forced or _has_tokens(use, judging):
        return ValueError(reason)
    task, metric = judging.values.encoder.plan.name, judging.registry.load("metric", use.metric)
    logger.warning(
        "task '%s': metric '%s' may not fit slot '%s': %s", task, use.metric, use.slot, reason
    )
    return Tried(task, (), metric.higher_is_better)


def _is_somewhere(use: MetricUse, judging: Judging) -> bool:
    """Whether the column of references exists, so that other rows may fill it."""
    metric = judging.registry.make("metric", use.metric, use.options)
    column = reference_column(metric, use)
    return any(column in row.context.row for row in judging.rows)


def _has_tokens(use: MetricUse, judging: Judging) -> bool:
    """Whether values go through tokens: then a decoded reference looks as a generated one does."""
    slot = judging.values.slots[use.slot]
    return bool(judging.values.encoder.blocks(slot, judging.rows[0].context))


def _log_probs(metric: Metric, row: Mapping[str, Any]) -> list[float]:
    """As many numbers as a metric gets that judges log-probabilities: of tokens, or of a row's candidates."""
    column = seen_as(Metric, metric).candidates
    return [-0.5] * (len(row.get(column) or ()) if column else 2)


def _rows(assembly: Assembly, plan: TaskPlan, data: TaskRows) -> list[Answered]:
    """Up to `LOOKED_AT` rows, of the held-out rows or else of the training rows, their references as answers."""
    source = data.held_out() or data.train
    encoder, found = assembly.encoder(plan), list[Answered]()
    values, complete = TargetValues.of(encoder), 0
    for index in spread(len(source), LOOKED_AT) if source is not None else ():
        try:
            assert source is not None
            raw = source[index]
            ctx = encoder.read(raw, plan.templates[0], "test", item_rng(0, plan.name, 0, index))
        except RowError:
            continue
        references = values.references(ctx)
        shown = {n: one.shown for n, one in references.items() if isinstance(one, Reference)}
        found.append(Answered(source.name(index), raw, ctx, shown))
        complete += len(shown) == len(references)
        if complete == ROWS:
            break
    return found
