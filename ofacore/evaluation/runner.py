"""Evaluating a generalist: generate for held-out rows, score, keep some samples to look at."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Literal, Protocol

from ofacore.batching.permutation import item_rng
from ofacore.decoding.inference import Inference
from ofacore.decoding.output import Output
from ofacore.encoding.slot_kinds import shown
from ofacore.evaluation.allowance import Allowance
from ofacore.evaluation.baselines import BaselineRows, best_baseline, ranked_pairs
from ofacore.evaluation.embedded import score_contrast, sides
from ofacore.evaluation.evaluation_errors import MetricError
from ofacore.evaluation.forced import candidate_log_probs, reference_log_probs
from ofacore.evaluation.judging import Answered, Judging, LeftOut, notices
from ofacore.evaluation.naming import called
from ofacore.evaluation.predictions import Prediction, mistakes, predictions_of
from ofacore.evaluation.references import Found, Reference, TargetValues
from ofacore.evaluation.report import Sample, ScoreRow
from ofacore.evaluation.scoring import (
    Judged,
    JudgedMetric,
    Row,
    blaming,
    checked_needs,
    filled,
    score,
    unscored,
)
from ofacore.ground.errors import UserError
from ofacore.ground.rate import Rate
from ofacore.model.universal import UniversalModel
from ofacore.plan import TaskPlan
from ofacore.plan.generation import taken_by, target_slots
from ofacore.plugin import MetricUse
from ofacore.plugin.blame import who
from ofacore.protocols import RowContext, RowError, SlotPlan
from ofacore.setup.assembly import Assembly
from ofacore.setup.datasets import TaskRows, readable, spread
from ofacore.sources import Source
from ofacore.sources.data_errors import reason_at

logger = logging.getLogger("ofacore.training")
LIKELY = -0.5
"""A log-probability that no metric can object to."""
SAMPLES = 6
"""Samples of each task that a report shows."""
MISTAKES = 12
"""Mistakes of each task that a report shows."""


class Evaluated(Protocol):
    """What is asked of a model with its tasks."""

    @property
    def assembly(self) -> Assembly:
        """Plans, preprocessors, registry."""

    @property
    def data(self) -> Mapping[str, TaskRows]:
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
    notices: tuple[str, ...] = ()
    """How many rows were left out, which, and why."""
    predictions: Sequence[Prediction] = ()
    """What was answered for each row, those that could not be used at the end."""
    worst: Sequence[Sample] = ()
    """The worst answers, of equally bad ones the surest first; their ``note`` says what is wrong."""
    judged: Sequence[JudgedMetric] = ()
    """What the metrics that could be computed were given."""


def evaluate_tasks(
    generalist: Evaluated,
    names: Sequence[str],
    split: str = "test",
    limit: int | None = None,
    baseline: bool = True,
    generation: Mapping[str, Any] | None = None,
    seconds: float | None = None,
    shows: bool = False,
) -> Iterator[Evaluation]:
    """Evaluate tasks one after the other; tasks without metrics or held-out rows are passed over.

    Each gets the options of generation that its generators have. The quick methods that stand beside them take so many
    ``seconds`` in all; None: as long as they need. ``shows``: on standard error it is told how many rows are answered.
    """
    chosen: list[tuple[TaskPlan, TaskRows]] = []
    for name in names:
        data, plan = generalist.data.get(name), generalist.assembly.plans[name]
        if data is not None and plan.metrics and data.held_out(split) is not None:
            chosen.append((plan, data))
    allowance = Allowance(seconds, len(chosen))
    for plan, data in chosen:
        own = taken_by(target_slots(plan), generalist.assembly.registry, generation or {})
        yield evaluate_task(generalist, plan, data, split, limit, baseline, own, allowance, shows)


def evaluate_task(
    generalist: Evaluated,
    plan: TaskPlan,
    data: TaskRows,
    split: str,
    limit: int | None,
    baseline: bool | Literal["own"],
    generation: Mapping[str, Any],
    allowance: Allowance | None = None,
    shows: bool = False,
) -> Evaluation:
    """Scores of one task on up to ``limit`` held-out rows, evenly spread (all without a limit).

    With ``baseline="own"`` beside the baseline of the task's preset alone; True: the best of all that are installed,
    in the time of the ``allowance``. ``shows``: how many rows are answered is told on standard error.
    """
    allowance = allowance or Allowance()
    fits = baseline is True and split == "test"
    if sides(plan) is not None:
        for_methods = allowance if fits else None
        return _contrast(generalist, plan, data, split, limit, for_methods)
    source = data.held_out(split)
    assert source is not None
    read = list(readable(source, limit or None))
    named = [(i, row) for i, row in read if not isinstance(row, RowError)]
    inference = replace(generalist.inference(plan, **generation), split="test", shared=True)
    rows = [row for _, row in named]
    with _shown_progress(plan.name, len(rows), shows) as progress:
        outputs = replace(inference, progress=progress)(rows, on_error="keep")
    beside = BaselineRows()
    if baseline and split == "test":
        preset = _baselines(data, source, [i for i, _ in named])
        beside = BaselineRows.of_preset(plan, preset, data.baseline_doc)
    if fits:
        assembly = generalist.assembly
        with allowance.of_task() as deadline:
            beside = best_baseline(assembly, plan, data, rows, beside.rows, deadline)
    answered = [
        Answered(source.name(i), row, output.context, output.values, beside.of_row(k))
        for k, ((i, row), output) in enumerate(zip(named, outputs, strict=True))
        if not output.problem
    ]
    unread = _unread(source, read, named, outputs)
    judging = Judging(
        TargetValues.of(generalist.assembly.encoder(plan)),
        answered,
        generalist.assembly.registry,
        beside.docs,
        len(unread),
    )
    by_row: list[dict[str, float]] = [{} for _ in answered]
    scores: list[ScoreRow] = []
    failures: tuple[MetricError, ...] = ()
    left: list[LeftOut] = []
    given: list[JudgedMetric] = []
    if read:
        scores, failures, left = _scored(generalist, plan, judging, unread, by_row, given)
    shown = [output for output in outputs if not output.problem]
    predictions = predictions_of(judging, shown, by_row)
    samples: list[Sample] = []
    worst: list[Sample] = []
    if split != "valid":
        decisive = next((row for row in scores if row.items), None)
        chosen = [(number, "") for number in spread(len(shown), SAMPLES)]
        samples = _samples(generalist, plan, shown, judging, chosen)
        noted = mistakes(predictions, decisive, MISTAKES)
        worst = _samples(generalist, plan, shown, judging, noted)
    told = tuple(notices(plan.name, len(read), [*unread, *left]))
    predictions += [Prediction(one.name, problem=one.reason) for one in unread]
    scores = [replace(row, available=len(source)) for row in scores]
    lost = _told(unread)
    return Evaluation(plan.name, scores, samples, lost, failures, told, predictions, worst, given)


@contextmanager
def _shown_progress(task: str, rows: int, shows: bool) -> Iterator[Callable[[int], None] | None]:
    """What tells how many rows of a task are answered."""
    if not shows:
        yield None
        return
    rate = Rate(rows, name=task)
    try:
        yield rate.add
    finally:
        rate.close()


def _unread(
    source: Source,
    read: Sequence[tuple[int, Row | RowError]],
    named: Sequence[tuple[int, Row]],
    outputs: Sequence[Output],
) -> list[LeftOut]:
    """Rows that could not be read, then those that could not be answered."""
    errors = [(source.name(i), row) for i, row in read if isinstance(row, RowError)]
    left = [LeftOut(name, "", reason_at(name, error)) for name, error in errors]
    pairs = zip(named, outputs, strict=True)
    return left + [
        LeftOut(source.name(i), "", output.problem) for (i, _), output in pairs if output.problem
    ]


def _samples(
    generalist: Evaluated,
    plan: TaskPlan,
    outputs: Sequence[Output],
    judging: Judging,
    chosen: Sequence[tuple[int, str]],
) -> list[Sample]:
    """The answers of some numbers, each with its note."""
    return [
        _sample(generalist, plan, outputs[number], judging.references[number], note)
        for number, note in chosen
    ]


def _contrast(
    generalist: Evaluated,
    plan: TaskPlan,
    data: TaskRows,
    split: str,
    limit: int | None,
    allowance: Allowance | None,
) -> Evaluation:
    """A contrast: nothing is generated, vectors are compared, those of quick methods too where they have time."""
    source = data.held_out(split)
    assert source is not None
    given: list[JudgedMetric] = []
    scores, failed, left, kept = score_contrast(generalist, plan, data, split, limit, given)
    of_rows = [row for row in scores if row.items]
    predictions = [_judged_row(name, place, of_rows) for place, (name, _) in enumerate(kept)]
    predictions += [Prediction(one.name, problem=one.reason) for one in left]
    told = tuple(notices(plan.name, len(kept) + len(left), left))
    scores = [replace(row, available=len(source)) for row in scores]
    if allowance is not None and given and not scores[0].problem:
        with allowance.of_task() as deadline:
            rows = [row for _, row in kept]
            found = ranked_pairs(generalist.assembly, plan, data, rows, deadline)
        for best in found[:1]:
            scores[0] = replace(scores[0], baseline=best.score, baseline_doc=best.doc)
    lost = _told(left)
    return Evaluation(plan.name, scores, [], lost, failed, told, predictions, judged=given)


def _judged_row(name: str, place: int, scores: Sequence[ScoreRow]) -> Prediction:
    """A row of a contrast with what each metric gives it."""
    return Prediction(name, scores={score.metric: score.items[place] for score in scores})


def _told(left: Sequence[LeftOut]) -> tuple[str, ...]:
    return tuple(f"{one.name}: {one.reason}" for one in left)


def _baselines(
    data: TaskRows, source: Source, numbers: Sequence[int]
) -> list[Mapping[str, Any]] | None:
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
    generalist: Evaluated,
    plan: TaskPlan,
    judging: Judging,
    unread: Sequence[LeftOut],
    by_row: Sequence[dict[str, float]],
    given: list[JudgedMetric],
) -> tuple[list[ScoreRow], tuple[MetricError, ...], list[LeftOut]]:
    """Rows of all metrics; one that fails leaves a row that says why, and the others go on.

    What a metric says of each answered row is put into ``by_row``, and what it judged into ``given``.
    """
    scores: list[ScoreRow] = []
    failures: list[MetricError] = []
    left: list[LeftOut] = []
    for number, use in enumerate(plan.metrics):
        judged = Judged(plan.name, [], [], left_out=len(judging.rows) + len(unread))
        try:
            with blaming(plan.name, use):
                if not judging.rows:
                    raise UserError(f"no row can be used: {unread[0].name}: {unread[0].reason}")
                judged, kept, lacking = judging.judged(use)
                judged, kept, unscorable = _for(use, judged, generalist, plan, judging, kept)
                judged, kept, refused = judging.accepted(judged, use, kept)
                found = score(judged, use, generalist.assembly.registry)
                names = tuple(judging.rows[place].name for place in kept)
                given.append(JudgedMetric(use, judged, names))
                left += [*lacking, *unscorable, *refused]
        except MetricError as error:
            failures.append(error)
            found = [unscored(judged, use, error)]
        named = [replace(row, metric=called(row.metric, number, plan.metrics)) for row in found]
        scores += named
        for row in named:
            for place, item in zip(kept, row.items, strict=True) if row.items else ():
                by_row[place][row.metric] = item
    return scores, tuple(failures), left


def _for(
    use: MetricUse,
    judged: Judged,
    generalist: Evaluated,
    plan: TaskPlan,
    judging: Judging,
    kept: list[int],
) -> tuple[Judged, list[int], list[LeftOut]]:
    """What a metric judges: generated values, or log-probabilities of references or candidates where it asks so."""
    metric = generalist.assembly.registry.load("metric", use.metric)
    needs = checked_needs(metric, use.metric)
    if not needs:
        return judged, kept, []
    model, encoder = generalist.model, judging.values.encoder
    rows = [judging.rows[number].raw for number in kept]
    if needs == "log_probs":
        found = reference_log_probs(model, encoder, rows, use.slot)
    else:
        built = generalist.assembly.registry.make("metric", use.metric, use.options)
        found = candidate_log_probs(model, encoder, rows, use.slot, built.candidates)
    left = [
        LeftOut(judging.rows[number].name, use.slot, reason_at(f"row {i}", one))
        for i, (number, one) in enumerate(zip(kept, found, strict=True))
        if isinstance(one, RowError)
    ]
    usable = [(i, one) for i, one in enumerate(found) if not isinstance(one, RowError)]
    if not usable:
        raise UserError(f"no row can be used: {left[0].name}: {left[0].reason}")
    judged = replace(
        judged,
        rows=[judged.rows[i] for i, _ in usable],
        predictions=[{use.slot: logs} for _, logs in usable],
        baseline=None,
        answers=[([LIKELY] * len(logs),) for _, logs in usable],
        left_out=judged.left_out + len(left),
    )
    return judged, [kept[i] for i, _ in usable], left


def baseline_score(assembly: Assembly, plan: TaskPlan, data: TaskRows) -> float | None:
    """Score of the baseline on the test split, None where there is no baseline or metric.

    Raises:
        MetricError: The metric cannot judge the baseline's values.
    """
    test, predictions = data.splits.get("test"), data.baseline_rows()
    if test is None or predictions is None or not plan.metrics or sides(plan) is not None:
        return None
    encoder, use = assembly.encoder(plan), plan.metrics[0]
    rows = [(test.name(i), row) for i, row in readable(test) if not isinstance(row, RowError)]
    answered = []
    with blaming(plan.name, use):
        for number, ((name, row), prediction) in enumerate(zip(rows, predictions, strict=True)):
            rng = item_rng(0, plan.name, 0, number)
            try:
                ctx = encoder.read(row, plan.templates[0], "test", rng)
            except RowError:
                continue  # evaluation tells of it
            answered.append(Answered(name, row, ctx, {}, prediction))
        judging = Judging(TargetValues.of(encoder), answered, assembly.registry)
        judged, kept, _ = judging.judged(use)
        judged, _, _ = judging.accepted(
            replace(judged, predictions=judged.baseline or []), use, kept
        )
        values = filled(judged, use, assembly.registry, judged.predictions).compute()
    return next(iter(values.values()), None)


def _sample(
    generalist: Evaluated,
    plan: TaskPlan,
    output: Output,
    references: Mapping[str, Found],
    note: str = "",
) -> Sample:
    template, assembly = plan.templates[0], generalist.assembly
    parts = []
    for slot in template.slots.values():
        value = output.context.row.get(slot.name)
        if slot.plain is None and slot.side == "source" and value is not None:
            parts.append(
                f"<div class='slot'><b>{slot.name}</b> {_shown(assembly, slot, value, output.context)}</div>"
            )
    targets = {slot.name: slot for slot in template.targets()}
    expected = [
        _shown(assembly, slot, found.shown, output.context)
        for name, slot in targets.items()
        if isinstance(found := references[name], Reference)
    ]
    try:
        answer = output.html()
    except Exception as error:
        answer = _not_shown("the answer", f"task '{plan.name}'", error)
    return Sample(
        plan.name, template.text, "".join(parts), answer, " ".join(filter(None, expected)), note
    )


def _shown(assembly: Assembly, slot: SlotPlan, value: Any, ctx: RowContext) -> str:
    is_element = assembly.registry.slot(slot.type).is_element
    try:
        return shown(assembly.preprocessor(slot.preprocessor), value, is_element, ctx)
    except Exception as error:  # a report shows what it can: scores must not be lost with a picture
        return _not_shown(
            who(assembly.registry, "preprocessor", slot.preprocessor), slot.name, error
        )


def _not_shown(owner: str, place: str, error: Exception) -> str:
    told = f"{owner}: render raised {type(error).__name__}: {error}"
    logger.warning("task sample not shown, %s: %s", place, told)
    return f"<i>not shown: {escape(told[:300])}</i>"
