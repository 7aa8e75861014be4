"""What a score is compared with: the preset's own baseline, and quick methods that are fitted on the same rows.

The methods are components of the kind ``baseline``; `baseline_inputs` says what they see of a row.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ofacore.batching.permutation import item_rng
from ofacore.evaluation.allowance import Deadline, fitted, told
from ofacore.evaluation.baseline_inputs import affordable, baseline_task, contrast_task
from ofacore.evaluation.embedded import judged_sides, sides
from ofacore.evaluation.evaluation_errors import MetricError, reason_of
from ofacore.evaluation.judging import Answered, Judging
from ofacore.evaluation.naming import called
from ofacore.evaluation.references import TargetValues
from ofacore.evaluation.scoring import blaming, checked_needs, filled
from ofacore.plan import TaskPlan
from ofacore.plugin import MetricUse, PluginError
from ofacore.protocols import (
    BaselineAnswers,
    BaselineTask,
    ContrastAnswers,
    ContrastTask,
    RowError,
)
from ofacore.setup.assembly import Assembly
from ofacore.setup.datasets import TaskRows, readable

logger = logging.getLogger("ofacore.training")
MOST_ROWS = 3_000
"""Training rows that a method sees."""
NO_DEADLINE = Deadline()
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Compared:
    """One baseline of a task's slot, scored by the first metric of that slot."""

    metric: str
    doc: str
    score: float
    seconds: float
    """That it took to fit and answer; 0 for a preset's own."""
    rows: Sequence[Row] = ()
    """Its answer for each row; of a contrast there is none."""


@dataclass(frozen=True)
class BaselineRows:
    """What stands beside the answers of a model: for each slot that is scored the best baseline's."""

    rows: Sequence[Row] | None = None
    """For each row slot -> answer, written as in the data, without slots that nothing answers; None: no baseline."""
    docs: Mapping[str, str] = field(default_factory=dict)
    """Slot -> what its baseline does."""

    @classmethod
    def of_preset(cls, plan: TaskPlan, rows: Sequence[Row] | None, doc: str) -> BaselineRows:
        """A preset's own baseline, for all slots."""
        return cls(rows, {use.slot: doc for use in plan.metrics})

    def of_row(self, place: int) -> Row | None:
        """What stands beside the answer to one row; None: no baseline."""
        return None if self.rows is None else self.rows[place]


def compared(
    assembly: Assembly, plan: TaskPlan, data: TaskRows, limit: int | None = None
) -> list[Compared]:
    """Every baseline of each scored slot on up to ``limit`` rows of the test split, best first."""
    test = data.splits.get("test")
    if test is None:
        return []
    named = [(i, row) for i, row in readable(test, limit) if not isinstance(row, RowError)]
    rows = [row for _, row in named]
    if sides(plan) is not None:
        return ranked_pairs(assembly, plan, data, rows)
    own = data.baseline_rows()
    chosen = None
    if own is not None and len(own) == len(test):
        chosen = [own[i] for i, _ in named]
    uses = _deciding(assembly, plan)
    return [one for use in uses for one in ranked(assembly, plan, use, data, rows, chosen)]


def best_baseline(
    assembly: Assembly,
    plan: TaskPlan,
    data: TaskRows,
    rows: Sequence[Row],
    own: Sequence[Row] | None,
    deadline: Deadline = NO_DEADLINE,
) -> BaselineRows:
    """The answers of the best baseline of each scored slot, as `ranked`; the preset's own where no method is installed.

    Slots of one repeat belong together: one that has an answer from a baseline of another keeps it.
    """
    if not assembly.registry.names("baseline"):
        return BaselineRows.of_preset(plan, own, data.baseline_doc)
    found: list[dict[str, Any]] = [{} for _ in rows]
    docs: dict[str, str] = {}
    repeated = {slot.name for slot in plan.templates[0].targets() if slot.repeat}
    uses = _deciding(assembly, plan)
    for place, use in enumerate(uses):
        if use.slot in docs and use.slot in repeated:
            continue
        part = deadline.part(len(uses) - place)
        for best in ranked(assembly, plan, use, data, rows, own, part)[:1]:
            for row, given in zip(found, best.rows, strict=True):
                row.update({name: value for name, value in given.items() if name not in docs})
                row.update({use.slot: given.get(use.slot)})
            docs = {**dict.fromkeys(found[0], best.doc), **docs, use.slot: best.doc}
    if not docs:
        return BaselineRows.of_preset(plan, own, data.baseline_doc)
    return BaselineRows(found, docs)


def _deciding(assembly: Assembly, plan: TaskPlan) -> list[MetricUse]:
    """The metric by which the baselines of each slot are ranked: the first that judges decoded values."""
    found: dict[str, MetricUse] = {}
    for use in plan.metrics:
        try:
            needs = checked_needs(assembly.registry.load("metric", use.metric), use.metric)
        except PluginError:
            continue  # evaluation tells of it
        if not needs:
            found.setdefault(use.slot, use)
    return list(found.values())


def ranked(
    assembly: Assembly,
    plan: TaskPlan,
    use: MetricUse,
    data: TaskRows,
    rows: Sequence[Row],
    own: Sequence[Row] | None,
    deadline: Deadline = NO_DEADLINE,
) -> list[Compared]:
    """The preset's own baseline and the fitted ones, for some rows, best first; one that fails is told and left out.

    Args:
        assembly: Plans and fitted preprocessors.
        plan: The task.
        use: The metric that ranks, and the slot that is answered.
        data: Its training rows.
        rows: What is answered, raw.
        own: What the preset's baseline answers; None: it has none.
        deadline: When the methods have to be done; they learn from fewer rows where all of them take too long.
    """
    if not rows or sides(plan) is not None:
        return []
    metric = assembly.registry.load("metric", use.metric)
    found: list[Compared] = []
    if own is not None and any(use.slot in row for row in own):
        found += _scored(assembly, plan, use, rows, data.baseline_doc, 0.0, list(own))
    task = None
    if data.train is not None and assembly.registry.names("baseline"):
        encoder, wanted = assembly.encoder(plan), min(rows_seen(assembly), len(data.train))
        most = affordable(encoder, data.train, len(rows), wanted, deadline)
        task = baseline_task(encoder, use.slot, data.train, rows, most)
    if task is not None:
        of = wanted if most < wanted else len(task)
        for doc, seconds, answers in _answers(assembly, plan, task, of, len(rows), deadline):
            if doc not in [one.doc for one in found]:
                given = [{use.slot: value} for value in answers.values]
                found += _scored(assembly, plan, use, rows, doc, seconds, given)
    return sorted(found, key=lambda one: one.score, reverse=metric.higher_is_better)


def ranked_pairs(
    assembly: Assembly,
    plan: TaskPlan,
    data: TaskRows,
    rows: Sequence[Row],
    deadline: Deadline = NO_DEADLINE,
) -> list[Compared]:
    """As `ranked`, of a contrast: how often methods that embed both sides find the partner of a row."""
    if not rows or not plan.metrics or data.train is None:
        return []
    registry, encoder, use = assembly.registry, assembly.encoder(plan), plan.metrics[0]
    if not _methods(assembly, plan, embeds=True):
        return []
    wanted = min(rows_seen(assembly), len(data.train))
    most = affordable(encoder, data.train, len(rows), wanted, deadline)
    task = contrast_task(encoder, data.train, rows, most)
    if task is None:
        return []
    of = wanted if most < wanted else len(task)
    metric = registry.load("metric", use.metric)
    found = []
    for doc, seconds, answers in _answers(assembly, plan, task, of, len(rows), deadline):
        pairs = list(zip(answers.left, answers.right, strict=True))
        judged = judged_sides(use, plan, [encoder.columns.apply(row) for row in rows], pairs)
        with blaming(plan.name, use):
            values = filled(judged, use, registry, judged.predictions).compute()
        found.append(Compared(use.metric, doc, next(iter(values.values())), seconds))
    return sorted(found, key=lambda one: one.score, reverse=metric.higher_is_better)


def _answers(
    assembly: Assembly,
    plan: TaskPlan,
    task: BaselineTask | ContrastTask,
    of: int,
    count: int,
    deadline: Deadline,
) -> Iterator[tuple[str, float, Any]]:
    """What each method that is made for the task answers: its name, seconds and answers.

    ``of`` is the number of training rows without a deadline, ``count`` that of the rows that are asked.
    """
    methods = _methods(assembly, plan, embeds=isinstance(task, ContrastTask))
    for place, (name, method) in enumerate(methods.items()):
        started = time.perf_counter()
        try:
            found, seen = fitted(method, task, deadline.part(len(methods) - place))
            if found is not None:
                _check_count(found, count)
        except Exception as error:  # a baseline is anybody's code, and must not cost the scores
            _leave_out(plan, name, error)
            continue
        if found is not None:
            yield told(found.name, seen, of), time.perf_counter() - started, found


def _check_count(answers: BaselineAnswers | ContrastAnswers, rows: int) -> None:
    answered = answers.left if isinstance(answers, ContrastAnswers) else answers.values
    given = len(answered)
    if given != rows:
        raise ValueError(f"it gives {given} answers for {rows} rows")


def _methods(assembly: Assembly, plan: TaskPlan, embeds: bool) -> dict[str, Callable[[Any], Any]]:
    """Those for contrasts, or those for all else; one that cannot be loaded is told and left out."""
    registry = assembly.registry
    found = {}
    for name in registry.names("baseline"):
        try:
            if bool(getattr(registry.load("baseline", name), "embeds", False)) == embeds:
                found[name] = registry.make("baseline", name)
        except Exception as error:  # it is anybody's code
            _leave_out(plan, name, error)
    return found


def _leave_out(plan: TaskPlan, name: str, error: Exception) -> None:
    reason = reason_of(error)
    logger.warning("task '%s': baseline '%s' is left out: %s", plan.name, name, reason)


def _scored(
    assembly: Assembly,
    plan: TaskPlan,
    use: MetricUse,
    rows: Sequence[Row],
    doc: str,
    seconds: float,
    given: Sequence[Row],
) -> list[Compared]:
    """What a baseline's answers are worth; none where the metric cannot judge them."""
    try:
        value = _score(assembly, plan, use, rows, given)
    except MetricError as error:
        logger.warning("task '%s': baseline '%s': %s", plan.name, doc, error.reason)
        return []
    name = called(use.metric, plan.metrics.index(use), plan.metrics)
    return [Compared(name, doc, value, seconds, given)]


def rows_seen(assembly: Assembly) -> int:
    """Rows that a method sees: no more than the run takes samples of a task."""
    train, tasks = assembly.config.train, max(1, len(assembly.plans))
    return max(1, min(MOST_ROWS, train.steps * train.samples // tasks))


def _score(
    assembly: Assembly,
    plan: TaskPlan,
    use: MetricUse,
    rows: Sequence[Row],
    predicted: Sequence[Row],
) -> float:
    """The first number of a metric."""
    encoder, answered = assembly.encoder(plan), []
    with blaming(plan.name, use):
        for number, (row, prediction) in enumerate(zip(rows, predicted, strict=True)):
            rng = item_rng(0, plan.name, 0, number)
            try:
                ctx = encoder.read(row, plan.templates[0], "test", rng)
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
