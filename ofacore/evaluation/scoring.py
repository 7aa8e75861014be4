"""Scores of predictions with bootstrap intervals, beside a baseline's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ofacore.evaluation.bootstrap import interval, resampled
from ofacore.evaluation.evaluation_errors import MetricError, reason_of
from ofacore.evaluation.report import ScoreRow
from ofacore.plugin import MetricUse, PluginError, Registry
from ofacore.protocols import Metric, seen_as

Row = Mapping[str, Any]
RECOMPUTED = 60
"""Bootstrap rounds of metrics that are computed anew in each."""
_UNKNOWN = float("nan"), float("nan")


@dataclass(frozen=True)
class Judged:
    """Predictions of one task for held-out rows."""

    task: str
    rows: Sequence[Row]
    """Slot name -> value, transforms applied; references as their slots take them."""
    predictions: Sequence[Row]
    """Slot name -> value, in the form of the references."""
    baseline: Sequence[Row] | None = None
    baseline_doc: str = ""
    answers: Sequence[Sequence[Any]] = ()
    """For each row predictions without fault; empty: not known."""
    left_out: int = 0
    """Rows of the split that are not among these."""


@dataclass(frozen=True)
class JudgedMetric:
    """What one metric of a task was given."""

    use: MetricUse
    judged: Judged
    names: tuple[str, ...]
    """For each judged row: where a user finds it."""


def score(
    judged: Judged, use: MetricUse, registry: Registry, *, rounds: int = 1000
) -> list[ScoreRow]:
    """Every number that a metric reports, with its interval; the first one beside the baseline.

    Raises:
        MetricError: The metric cannot judge these values.
    """
    with blaming(judged.task, use):
        return _scores(judged, use, registry, rounds)


@contextmanager
def blaming(task: str, use: MetricUse) -> Iterator[None]:
    """Whatever a metric raises becomes an error that names it: a metric is anybody's code."""
    try:
        yield
    except MetricError:
        raise
    except Exception as error:
        raise MetricError(task, use, error) from error


def unscored(judged: Judged, use: MetricUse, error: MetricError) -> ScoreRow:
    """The row of a metric that could not be computed."""
    nan, size = float("nan"), len(judged.rows)
    return ScoreRow(
        judged.task,
        use.metric,
        nan,
        nan,
        nan,
        None,
        "",
        size,
        problem=error.reason,
        left_out=judged.left_out,
        slot=use.slot,
    )


def without_refused(
    judged: Judged, use: MetricUse, registry: Registry
) -> tuple[Judged, dict[int, str]]:
    """Without the rows whose reference the metric refuses whatever is answered, and why it does, by place.

    Where it refuses all of them, or none (then it is the answer that it cannot judge), nothing is left out.
    """
    if not judged.answers or _accepts(judged, use, registry):
        return judged, {}
    reasons = [fitting_answer(judged, place, use, registry)[1] for place in range(len(judged.rows))]
    refused = {place: reason for place, reason in enumerate(reasons) if reason}
    kept = [place for place, reason in enumerate(reasons) if not reason]
    if not refused or not kept:
        return judged, {}
    baseline = None if judged.baseline is None else [judged.baseline[i] for i in kept]
    return replace(
        judged,
        rows=[judged.rows[i] for i in kept],
        predictions=[judged.predictions[i] for i in kept],
        baseline=baseline,
        answers=[judged.answers[i] for i in kept],
        left_out=judged.left_out + len(refused),
    ), refused


def _accepts(judged: Judged, use: MetricUse, registry: Registry) -> bool:
    try:
        filled(judged, use, registry, judged.predictions)
    except Exception:  # a metric is anybody's code: it may raise anything
        return False
    return True


def fitting_answer(
    judged: Judged, place: int, use: MetricUse, registry: Registry
) -> tuple[Any, str]:
    """A prediction without fault that the metric accepts for one row, and why it accepts none; empty if it does."""
    reason = ""
    for answer in judged.answers[place]:
        try:
            own = {**judged.predictions[place], use.slot: answer}
            filled(replace(judged, rows=[judged.rows[place]]), use, registry, [own])
        except Exception as error:  # a metric is anybody's code: it may raise anything
            reason = reason or reason_of(error)
        else:
            return answer, ""
    return None, reason


def _scores(judged: Judged, use: MetricUse, registry: Registry, rounds: int) -> list[ScoreRow]:
    metric = filled(judged, use, registry, judged.predictions)
    values = metric.compute()
    if not values:
        return []
    first = next(iter(values))
    baselines: dict[str, float] = {}
    if judged.baseline is not None:
        baselines[first] = filled(judged, use, registry, judged.baseline).compute()[first]
    limits, size = _intervals(judged, use, registry, metric, values, rounds), len(judged.rows)
    items = tuple(float(one) for one in metric.items())
    rows = []
    for name, value in values.items():
        low, high = limits.get(name, _UNKNOWN)
        baseline_doc = judged.baseline_doc if name in baselines else ""
        of_rows = items if name == first and len(items) == size else ()
        row = ScoreRow(
            judged.task,
            name,
            value,
            low,
            high,
            baselines.get(name),
            baseline_doc,
            size,
            metric.higher_is_better,
            left_out=judged.left_out,
            slot=use.slot,
            items=of_rows,
        )
        rows.append(row)
    return rows


def filled(
    judged: Judged,
    use: MetricUse,
    registry: Registry,
    predictions: Sequence[Row],
    picked: Sequence[int] | None = None,
) -> Metric:
    """A metric that has seen all rows, or those that are picked; whatever it raises goes on."""
    metric: Metric = registry.make("metric", use.metric, use.options)
    chosen = range(len(predictions)) if picked is None else picked
    column = reference_column(metric, use)
    rows = []
    for i in chosen:
        predicted = {f"predicted:{name}": value for name, value in predictions[i].items()}
        rows.append({**judged.rows[i], **predicted})
    answers = [predictions[i].get(use.slot) for i in chosen]
    references = [row.get(column) for row in rows]
    metric.update(answers, references, rows)
    return metric


def _intervals(
    judged: Judged,
    use: MetricUse,
    registry: Registry,
    metric: Metric,
    values: Mapping[str, float],
    rounds: int,
) -> dict[str, tuple[float, float]]:
    """By name of the number; from one number a row for the first of them, where the metric gives that."""
    items = metric.items()
    found = {next(iter(values)): interval(items, rounds=rounds)} if len(items) else {}
    if len(found) == len(values) or not seen_as(Metric, metric).redrawn:
        return found

    def again(picked: Sequence[int]) -> Mapping[str, float]:
        try:
            return filled(judged, use, registry, judged.predictions, picked).compute()
        except ValueError:  # what can be said of all rows may not be of those that were drawn
            return {}

    return resampled(again, len(judged.predictions), rounds=min(rounds, RECOMPUTED)) | found


def checked_needs(metric: Any, name: str) -> str:
    """What the predictions of a metric, or of its class, are; empty: decoded values.

    Raises:
        PluginError: There are no such predictions.
    """
    needs = seen_as(Metric, metric).needs
    if needs not in ("", "log_probs", "candidates", "embeddings"):
        raise PluginError(
            f"metric '{name}': needs = {needs!r}; there are 'log_probs', 'candidates' and 'embeddings'"
        )
    return needs


def reference_column(metric: Metric, use: MetricUse) -> str:
    """The column that a metric takes its references from."""
    return seen_as(Metric, metric).reference_column or use.references or use.slot
