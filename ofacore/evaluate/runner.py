"""Evaluating a generalist: generate for held-out rows, score, keep some samples to look at."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Protocol

from ofacore.assembly import Assembly, TaskData
from ofacore.assembly.datasets import readable, spread
from ofacore.data.columns import ColumnMap
from ofacore.data.errors import reason_at
from ofacore.data.kinds import shown
from ofacore.data.sources import Source
from ofacore.errors import UserError
from ofacore.evaluate.errors import MetricError
from ofacore.evaluate.forced import candidate_log_probs, reference_log_probs
from ofacore.evaluate.report import Sample, ScoreRow
from ofacore.evaluate.scoring import Judged, blaming, score, unscored
from ofacore.generate.inference import Inference
from ofacore.generate.output import Output
from ofacore.model.universal import UniversalModel
from ofacore.plan import TaskPlan
from ofacore.plugin import MetricUse
from ofacore.plugin.blame import who
from ofacore.protocols import RowContext, RowError, SlotPlan

logger = logging.getLogger("ofacore.train")
SAMPLES = 6
"""Samples of each task that a report shows."""


class Evaluated(Protocol):
    """What is asked of a model with its tasks."""

    @property
    def assembly(self) -> Assembly:
        """Plans, preprocessors, registry."""

    @property
    def data(self) -> Mapping[str, TaskData]:
        """Task -> its rows."""

    @property
    def model(self) -> UniversalModel:
        """The model, in evaluation mode after `inference`."""

    def inference(self, plan: TaskPlan, **generation: Any) -> Inference:
        """What answers rows of a plan."""


@dataclass(frozen=True)
class Evaluation:
    """One task."""

    task: str
    scores: list[ScoreRow]
    samples: list[Sample]
    problems: tuple[str, ...] = ()
    """Rows that could not be used, and why."""
    failures: tuple[MetricError, ...] = ()
    """Metrics that could not be computed."""


def evaluate_tasks(
    generalist: Evaluated, names: Sequence[str], split: str = "test", limit: int | None = None, baseline: bool = True,
    generation: Mapping[str, Any] | None = None,
) -> Iterator[Evaluation]:  # fmt: skip
    """Evaluate tasks one after the other; tasks without metrics or held-out rows are passed over."""
    for name in names:
        data, plan = generalist.data.get(name), generalist.assembly.plans[name]
        if data is not None and plan.metrics and data.held_out(split) is not None:
            yield evaluate_task(generalist, plan, data, split, limit, baseline, generation or {})


def evaluate_task(
    generalist: Evaluated, plan: TaskPlan, data: TaskData, split: str, limit: int | None, baseline: bool,
    generation: Mapping[str, Any],
) -> Evaluation:  # fmt: skip
    """Scores of one task on up to ``limit`` held-out rows, evenly spread (all without a limit)."""
    source = data.held_out(split)
    assert source is not None
    read = list(readable(source, limit or None))
    named = [(i, row) for i, row in read if not isinstance(row, RowError)]
    rows = [row for _, row in named]
    inference = replace(generalist.inference(plan, **generation), split="test", shared=True)
    outputs = inference(rows, on_error="keep")
    columns = ColumnMap.of(plan.columns, plan.transforms, generalist.assembly.registry.make)
    usable = [k for k, output in enumerate(outputs) if not output.problem]
    baselines = _baselines(data, source, [i for i, _ in named]) if baseline and split == "test" else None
    judged = Judged(
        plan.name, [columns.apply(rows[k]) for k in usable], [outputs[k].values for k in usable],
        [baselines[k] for k in usable] if baselines is not None else None, data.baseline_doc,
    )  # fmt: skip
    scores, failures = _scored(generalist, plan, judged, [rows[k] for k in usable])
    chosen = [(outputs[usable[k]], judged.rows[k]) for k in spread(len(usable), SAMPLES)]
    unread = [(source.name(i), row) for i, row in read if isinstance(row, RowError)]
    unused = [(source.name(i), output.problem) for (i, _), output in zip(named, outputs, strict=True) if output.problem]
    problems = tuple(f"{name}: {reason}" for name, reason in (*((n, reason_at(n, e)) for n, e in unread), *unused))
    return Evaluation(plan.name, scores, [_sample(generalist, plan, o, r) for o, r in chosen], problems, failures)


def _baselines(data: TaskData, source: Source, numbers: Sequence[int]) -> list[Mapping[str, Any]] | None:
    """The baseline's predictions for some rows; it predicts for all that can be read.

    Raises:
        UserError: It predicts for more rows, or for fewer.
    """
    found = data.baseline_rows()
    if found is None or len(found) == len(source):
        return None if found is None else [found[i] for i in numbers]
    read = [i for i, row in readable(source) if not isinstance(row, RowError)]
    if len(found) != len(read):
        problem = f"the baseline '{data.baseline_doc}' gives {len(found)} predictions for {len(read)} rows"
        raise UserError(f"{problem}; it must give one for each, or be left out (baseline=False)")
    by_number = dict(zip(read, found, strict=True))
    return [by_number[i] for i in numbers]


def _scored(
    generalist: Evaluated, plan: TaskPlan, judged: Judged, rows: Sequence[Mapping[str, Any]]
) -> tuple[list[ScoreRow], tuple[MetricError, ...]]:
    """Rows of all metrics; one that fails leaves a row that says why, and the others go on."""
    scores: list[ScoreRow] = []
    failures: list[MetricError] = []
    for use in plan.metrics if rows else ():
        try:
            with blaming(plan.name, use):
                scores += score(_for(use, judged, generalist, plan, rows), use, generalist.assembly.registry)
        except MetricError as error:
            failures.append(error)
            scores.append(unscored(judged, use, error))
    return scores, tuple(failures)


def _for(
    use: MetricUse, judged: Judged, generalist: Evaluated, plan: TaskPlan, rows: Sequence[Mapping[str, Any]]
) -> Judged:
    """What a metric judges: generated values, or log-probabilities of references or candidates where it asks so."""
    metric = generalist.assembly.registry.load("metric", use.metric)
    needs = getattr(metric, "needs", "")
    if needs not in ("log_probs", "candidates"):
        return judged
    model, encoder = generalist.model, generalist.assembly.encoder(plan)
    if needs == "log_probs":
        found = reference_log_probs(model, encoder, rows, use.slot)
    else:
        built = generalist.assembly.registry.make("metric", use.metric, use.options)
        found = candidate_log_probs(model, encoder, rows, use.slot, built.candidates)
    return replace(judged, predictions=[{use.slot: logs} for logs in found], baseline=None)


def _sample(generalist: Evaluated, plan: TaskPlan, output: Output, row: Mapping[str, Any]) -> Sample:
    template, assembly = plan.templates[0], generalist.assembly
    parts = []
    for slot in template.slots.values():
        value = output.context.row.get(slot.name)
        if slot.plain is None and slot.side == "source" and value is not None:
            parts.append(f"<div class='slot'><b>{slot.name}</b> {_shown(assembly, slot, value, output.context)}</div>")
    targets = {slot.name: slot for slot in template.targets()}
    references = [_shown(assembly, slot, row.get(name), output.context) for name, slot in targets.items()]
    try:
        answer = output.html()
    except Exception as error:
        answer = _not_shown("the answer", f"task '{plan.name}'", error)
    return Sample(plan.name, template.text, "".join(parts), answer, " ".join(filter(None, references)))


def _shown(assembly: Assembly, slot: SlotPlan, value: Any, ctx: RowContext) -> str:
    is_element = assembly.registry.slot(slot.type).is_element
    try:
        return shown(assembly.preprocessor(slot.preprocessor), value, is_element, ctx)
    except Exception as error:  # a report shows what it can: scores must not be lost with a picture
        return _not_shown(who(assembly.registry, "preprocessor", slot.preprocessor), slot.name, error)


def _not_shown(owner: str, place: str, error: Exception) -> str:
    told = f"{owner}: render raised {type(error).__name__}: {error}"
    logger.warning("task sample not shown, %s: %s", place, told)
    return f"<i>not shown: {escape(told[:300])}</i>"
