"""The score of a task with what a paired comparison needs: a number for each row, or scores of drawn rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ofacore import Generalist
from ofacore.evaluation.runner import evaluate_task
from ofacore.evaluation.scoring import RECOMPUTED, Judged, JudgedMetric, filled
from ofacore.plugin import MetricUse, Registry
from ofacore.protocols import RowError
from ofacore.setup.datasets import TaskRows, sampled_rows
from ofacore.sources.held_out import ChosenRows

_LEARNED = 5000
"""Training rows among which the most frequent answer is looked for."""


def scored(
    generalist: Generalist, task: str, data: TaskRows, learned: TaskRows, most: int
) -> dict[str, Any]:
    """The first metric of a task on up to ``most`` held-out rows (0: all), JSON-ready.

    Args:
        generalist: A trained model.
        task: One of its tasks.
        data: Rows to score on.
        learned: The task's own rows: their most frequent answer is the baseline where the task has none.
        most: Rows, at equal distances: a study that goes on goes by the rows that it began with.
    """
    plan, registry = generalist.assembly.plans[task], generalist.assembly.registry
    source = data.held_out("test")
    if not plan.metrics or source is None:
        return {"problem": "the task has no metric" if source else "the task has no held-out rows"}
    numbers = np.arange(len(source))
    if most and most < len(source):
        numbers = np.arange(most) * len(source) // most
    chosen = ChosenRows(source, numbers)
    rows = replace(data, splits={**data.splits, "test": chosen})
    found = evaluate_task(generalist, plan, rows, "test", None, "own", {})
    given = next((each for each in found.judged if each.use == plan.metrics[0]), None)
    if given is None:
        reasons = [failure.reason for failure in found.failures]
        return {"problem": reasons[0] if reasons else "no row could be judged"}
    names = [chosen.name(number) for number in range(len(chosen))]
    baseline, told = _baseline(generalist, given, learned)
    own = measured(given, registry, given.judged.predictions, names)
    return {
        "problem": "",
        "rows": len(given.names),
        "left_out": given.judged.left_out,
        **own,
        "baseline": baseline and measured(given, registry, baseline, names),
        "baseline_doc": told,
    }


def measured(
    given: JudgedMetric,
    registry: Registry,
    predictions: Sequence[Mapping[str, Any]],
    names: Sequence[str],
) -> dict[str, Any]:
    """A metric of predictions: ``score``, and ``items`` (row -> number) or ``draws`` (a score each).

    Draws depend on ``names`` alone, so those of two models hold the same rows.
    """
    metric = filled(given.judged, given.use, registry, predictions)
    name, score = next(iter(metric.compute().items()))
    found: dict[str, Any] = {
        "metric": name,
        "higher_is_better": bool(metric.higher_is_better),
        "score": float(score),
    }
    items = [float(item) for item in metric.items()]
    if len(items) == len(given.names):
        return {**found, "items": dict(zip(given.names, items, strict=True))}
    return {**found, "draws": _drawn(given, registry, predictions, names)}


def _drawn(
    given: JudgedMetric,
    registry: Registry,
    predictions: Sequence[Mapping[str, Any]],
    names: Sequence[str],
) -> list[float | None]:
    rng = np.random.default_rng(0)
    place = {name: number for number, name in enumerate(given.names)}
    found: list[float | None] = []
    for _ in range(RECOMPUTED):
        drawn = [names[number] for number in rng.integers(0, len(names), len(names))]
        picked = [place[name] for name in drawn if name in place]
        found.append(_again(given, registry, predictions, picked))
    return found


def _again(
    given: JudgedMetric,
    registry: Registry,
    predictions: Sequence[Mapping[str, Any]],
    picked: Sequence[int],
) -> float | None:
    try:
        values = filled(given.judged, given.use, registry, predictions, picked).compute()
    except ValueError:  # what can be said of all rows may not be of those that were drawn
        return None
    return float(next(iter(values.values()))) if values else None


def _baseline(
    generalist: Generalist, given: JudgedMetric, learned: TaskRows
) -> tuple[Sequence[Mapping[str, Any]] | None, str]:
    """Predictions of the task's baseline, else its most frequent answer in training; and which of the two."""
    if given.judged.baseline is not None:
        return given.judged.baseline, given.judged.baseline_doc
    answer = _most_frequent(generalist, given.judged, given.use, learned)
    if answer is None:
        return None, ""
    predictions = [{given.use.slot: answer}] * len(given.judged.rows)
    try:
        filled(given.judged, given.use, generalist.assembly.registry, predictions).compute()
    except Exception:  # a metric is anybody's code, and may take other values than rows hold
        return None, ""
    return predictions, "most frequent answer"


def _most_frequent(
    generalist: Generalist, judged: Judged, use: MetricUse, learned: TaskRows
) -> Any:
    plan, registry = generalist.assembly.plans[judged.task], generalist.assembly.registry
    try:
        rows = list(sampled_rows(plan, learned, registry, _LEARNED))
    except RowError:
        return None
    values = [row.get(use.slot) for row in rows]
    plain = [value for value in values if isinstance(value, str | int | float)]
    return Counter(plain).most_common(1)[0][0] if plain else None
