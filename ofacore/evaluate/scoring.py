"""Scores of predictions with bootstrap intervals, beside a baseline's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ofacore.assembly import TaskData
from ofacore.assembly.datasets import readable
from ofacore.data.columns import ColumnMap
from ofacore.evaluate.bootstrap import interval, resampled
from ofacore.evaluate.errors import MetricError
from ofacore.evaluate.report import ScoreRow
from ofacore.plan import TaskPlan
from ofacore.plugin import MetricUse, Registry
from ofacore.protocols import Metric, RowError

Row = Mapping[str, Any]
RECOMPUTED = 60
"""Bootstrap rounds of metrics that are computed anew in each."""
_UNKNOWN = float("nan"), float("nan")


@dataclass(frozen=True)
class Judged:
    """Predictions of one task for held-out rows."""

    task: str
    rows: Sequence[Row]
    """Rows as the model saw them: slot name -> value, transforms applied."""
    predictions: Sequence[Row]
    """Slot name -> value."""
    baseline: Sequence[Row] | None = None
    baseline_doc: str = ""


def score(judged: Judged, use: MetricUse, registry: Registry, *, rounds: int = 1000) -> list[ScoreRow]:
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
    nan = float("nan")
    return ScoreRow(judged.task, use.metric, nan, nan, nan, None, "", len(judged.rows), problem=error.reason)


def _scores(judged: Judged, use: MetricUse, registry: Registry, rounds: int) -> list[ScoreRow]:
    metric = _filled(judged, use, registry, judged.predictions)
    values = metric.compute()
    if not values:
        return []
    first = next(iter(values))
    baselines: dict[str, float] = {}
    if judged.baseline is not None:
        baselines[first] = _filled(judged, use, registry, judged.baseline).compute()[first]
    limits, size = _intervals(judged, use, registry, metric, values, rounds), len(judged.rows)
    return [
        ScoreRow(judged.task, name, value, *limits.get(name, _UNKNOWN), baselines.get(name),
                 judged.baseline_doc if name in baselines else "", size, metric.higher_is_better)
        for name, value in values.items()
    ]  # fmt: skip


def _filled(
    judged: Judged, use: MetricUse, registry: Registry, predictions: Sequence[Row], picked: Sequence[int] | None = None
) -> Metric:
    metric: Metric = registry.make("metric", use.metric, use.options)
    chosen = range(len(predictions)) if picked is None else picked
    column = use.references or use.slot
    rows = [{**judged.rows[i], **{f"predicted:{n}": v for n, v in predictions[i].items()}} for i in chosen]
    metric.update([predictions[i].get(use.slot) for i in chosen], [row.get(column) for row in rows], rows)
    return metric


def _intervals(
    judged: Judged, use: MetricUse, registry: Registry, metric: Metric, values: Mapping[str, float], rounds: int
) -> dict[str, tuple[float, float]]:
    """By name of the number; from one number a row for the first of them, where the metric gives that."""
    items = metric.items()
    found = {next(iter(values)): interval(items, rounds=rounds)} if len(items) else {}
    if len(found) == len(values):
        return found

    def again(picked: Sequence[int]) -> Mapping[str, float]:
        return _filled(judged, use, registry, judged.predictions, picked).compute()

    return resampled(again, len(judged.predictions), rounds=min(rounds, RECOMPUTED)) | found


def baseline_score(plan: TaskPlan, data: TaskData, registry: Registry) -> float | None:
    """Score of the baseline on the test split, None where there is no baseline or metric.

    Raises:
        MetricError: The metric cannot judge the baseline's values.
    """
    test, predictions = data.splits.get("test"), data.baseline_rows()
    if test is None or predictions is None or not plan.metrics:
        return None
    columns = ColumnMap.of(plan.columns, plan.transforms, registry.make)
    rows = [columns.apply(row) for _, row in readable(test) if not isinstance(row, RowError)]
    use = plan.metrics[0]
    with blaming(plan.name, use):
        values = _filled(Judged(plan.name, rows, predictions), use, registry, predictions).compute()
    return next(iter(values.values()), None)
