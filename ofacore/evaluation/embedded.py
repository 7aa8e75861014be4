"""Metrics that compare what a contrast has trained: vectors of both sides of all held-out rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ofacore.decoding.embedding import Vectors, embed_sides
from ofacore.evaluation.evaluation_errors import MetricError
from ofacore.evaluation.judging import LeftOut
from ofacore.evaluation.naming import called
from ofacore.evaluation.report import ScoreRow
from ofacore.evaluation.scoring import Judged, JudgedMetric, blaming, score, unscored
from ofacore.model.universal import UniversalModel
from ofacore.plan import TaskPlan
from ofacore.plugin import MetricUse, Registry
from ofacore.protocols import RowError
from ofacore.setup.assembly import Assembly
from ofacore.setup.datasets import TaskRows, readable
from ofacore.sources.data_errors import reason_at

EMBEDDINGS = "embeddings"
"""What such a metric has as ``needs``."""


class Embedding(Protocol):
    """What is asked of a model with its tasks."""

    @property
    def assembly(self) -> Assembly:
        """Plans, preprocessors, registry."""

    @property
    def model(self) -> UniversalModel:
        """The model."""


def sides(plan: TaskPlan) -> tuple[str, str] | None:
    """Names of the two sides of the contrast that rows are evaluated by; None where there is none."""
    contrast = plan.templates[0].contrast
    return None if contrast is None else (contrast.left.name, contrast.right.name)


def misplaced(use: MetricUse, plan: TaskPlan, registry: Registry) -> str:
    """Why a metric cannot have the slot that it is given, as far as it is about embeddings; empty if it can."""
    wants = getattr(registry.load("metric", use.metric), "needs", "") == EMBEDDINGS
    there = sides(plan) or ()
    if wants and use.slot not in there:
        remedy = (
            f"its sides are {' and '.join(there)}" if there else "write one as [TYPE:a|TYPE:b] ->"
        )
        return (
            f"metric '{use.metric}' compares embeddings of the two sides of a contrast, and slot '{use.slot}' is no "
            f"side of one; {remedy}, or take the metric out"
        )
    if not wants and use.slot in there:
        return (
            f"metric '{use.metric}' judges values, and nothing is generated for '{use.slot}', a side of a contrast; "
            "choose a metric of embeddings, such as recall"
        )
    return ""


def score_contrast(
    generalist: Embedding,
    plan: TaskPlan,
    data: TaskRows,
    split: str,
    limit: int | None,
    given: list[JudgedMetric] | None = None,
) -> tuple[
    list[ScoreRow], tuple[MetricError, ...], list[LeftOut], list[tuple[str, Mapping[str, Any]]]
]:
    """Scores of a contrast on up to ``limit`` held-out rows, failed metrics, rows left out, and the others by name.

    ``given`` takes what the metrics that do not fail have judged.
    """
    source, registry = data.held_out(split), generalist.assembly.registry
    assert source is not None
    encoder = generalist.assembly.encoder(plan)
    read = list(readable(source, limit or None))
    left = [
        LeftOut(source.name(i), "", reason_at(source.name(i), row))
        for i, row in read
        if isinstance(row, RowError)
    ]
    named = [(source.name(i), row) for i, row in read if not isinstance(row, RowError)]
    generalist.model.eval()
    found = embed_sides(generalist.model, encoder, [row for _, row in named])
    rows: list[Mapping[str, Any]] = []
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    kept: list[tuple[str, Mapping[str, Any]]] = []
    for (name, row), vectors in zip(named, found, strict=True):
        if isinstance(vectors, RowError):
            left.append(LeftOut(name, "", reason_at(name, vectors)))
            continue
        kept.append((name, row))
        rows.append(encoder.columns.apply(row))
        pairs.append(vectors)
    if not read:
        return [], (), left, kept
    scores: list[ScoreRow] = []
    failures: list[MetricError] = []
    for number, use in enumerate(plan.metrics):
        judged = judged_sides(use, plan, rows, pairs, len(left))
        try:
            with blaming(plan.name, use):
                if not rows:
                    raise ValueError(f"no row can be used: {left[0].name}: {left[0].reason}")
                found_rows = score(judged, use, registry)
                if given is not None:
                    given.append(JudgedMetric(use, judged, tuple(name for name, _ in kept)))
        except MetricError as error:
            failures.append(error)
            found_rows = [unscored(judged, use, error)]
        scores += [
            replace(row, metric=called(row.metric, number, plan.metrics)) for row in found_rows
        ]
    return scores, tuple(failures), left, kept


def judged_sides(
    use: MetricUse,
    plan: TaskPlan,
    rows: Sequence[Mapping[str, Any]],
    pairs: Sequence[Vectors],
    left_out: int = 0,
) -> Judged:
    """What a metric of embeddings gets: vectors of its slot as predictions, of the other side as references."""
    names = sides(plan)
    assert names is not None
    own = names.index(use.slot)
    column = use.references or use.slot
    given = [{**row, column: pair[1 - own]} for row, pair in zip(rows, pairs, strict=True)]
    return Judged(plan.name, given, [{use.slot: pair[own]} for pair in pairs], left_out=left_out)


def example_sides(count: int) -> list[Vectors]:
    """Vectors of the form that a contrast gives, to try a metric on."""
    rng = np.random.default_rng(0)
    made = rng.normal(size=(count, 2, 4)).astype(np.float32)
    unit = made / np.linalg.norm(made, axis=-1, keepdims=True)
    return [(pair[0], pair[1]) for pair in unit]
