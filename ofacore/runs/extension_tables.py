"""What a run that starts from a model tells: before training what is new, afterwards what old tasks lost or won."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from ofacore.checkpoint.durable import write_json
from ofacore.evaluation.report import ScoreRow
from ofacore.evaluation.runner import evaluate_tasks
from ofacore.generalist.facade import Generalist
from ofacore.ground.errors import UserError
from ofacore.ground.figures import figure, figures
from ofacore.ground.json_files import read_object
from ofacore.parallel.process_groups import is_first
from ofacore.runs.extended_run import Extension
from ofacore.runs.model_parts import parts_of
from ofacore.runs.scoring_run import print_table
from ofacore.setup.datasets import open_task

BEFORE = "before.json"
"""File in the run folder: what the old tasks scored before training."""
_LEFT_ROWS = 100
"""Rows of each task that is left which are scored, before and after."""
Known = dict[tuple[str, str], float]
"""(task, metric) -> score."""


def scores_before(
    generalist: Generalist, extension: Extension, folder: Path, goes_on: bool
) -> Known:
    """What old tasks score before the first step; of a run that goes on, what was found then.

    All processes of a run score together; the first writes.
    """
    if goes_on:
        if not (folder / BEFORE).is_file():
            return {}
        rows = read_object(folder / BEFORE).get("scores", [])
        return {(row["task"], row["metric"]): float(row["score"]) for row in rows}
    if is_first():
        print("scoring the tasks that the model knows", file=sys.stderr)
    limit = generalist.assembly.config.train.test_rows or None
    trained = _scored(generalist, extension.kept, limit)
    rows = [row for row in [*trained, *scores_left(generalist)] if not row.problem]
    if is_first():
        folder.mkdir(parents=True, exist_ok=True)
        plain = [{"task": row.task, "metric": row.metric, "score": row.score} for row in rows]
        write_json(
            folder / BEFORE, {"scores": [row for row in plain if math.isfinite(row["score"])]}
        )
    return {(row.task, row.metric): row.score for row in rows}


def scores_left(generalist: Generalist) -> list[ScoreRow]:
    """Scores of the tasks that are not trained, as far as their held-out rows can be had."""
    assembly = generalist.assembly
    for name in [name for name, rows in generalist.aside.items() if rows is None]:
        try:
            plan, task = assembly.plans[name], assembly.config.tasks[name]
            generalist.aside[name] = open_task(plan, task, assembly.registry)
        except UserError:
            continue
    beside = {name: rows for name, rows in generalist.aside.items() if rows is not None}
    judged = Generalist(assembly, generalist.model, beside)
    return _scored(judged, tuple(beside), _LEFT_ROWS)


def _scored(generalist: Generalist, names: Sequence[str], limit: int | None) -> list[ScoreRow]:
    known = [name for name in names if name in generalist.data]
    found = evaluate_tasks(generalist, known, "test", limit, baseline=False)
    return [row for evaluation in found for row in evaluation.scores]


def print_extension(
    generalist: Generalist, extension: Extension, before: Known, console: Console
) -> None:
    """Which tasks are new, kept or left, what they score now, and how the parts of the model are trained."""
    lines = []
    for name, plan in generalist.assembly.plans.items():
        metric = plan.metrics[0].metric if plan.metrics else ""
        scored = [(what, score) for (task, what), score in before.items() if task == name]
        now = ""
        if scored:
            metric, now = scored[0][0], figure(scored[0][1])
        lines.append((name, extension.state_of(name), metric, now))
    console.print("starting from a model", highlight=False)
    print_table(("task", "state", "metric", "score now"), lines, console)
    parts = parts_of(generalist, extension.model.weights)
    sizes = [(part.name, f"{part.parameters:,}", part.state) for part in parts]
    console.print("parts of the model", highlight=False)
    print_table(("part", "parameters", "state"), sizes, console)


def print_change(
    extension: Extension,
    before: Mapping[tuple[str, str], float],
    after: Sequence[ScoreRow],
    console: Console,
) -> None:
    """What the tasks that the model knew lost or won."""
    lines = []
    for row in after:
        known = before.get((row.task, row.metric))
        if known is None or row.problem:
            continue
        interval = figures(row.low, row.high) if math.isfinite(row.low) else ""
        state = extension.state_of(row.task)
        scores = (figure(known), figure(row.score), interval)
        lines.append((row.task, state, row.metric, *scores, _verdict(known, row)))
    if lines:
        titles = ("task", "state", "metric", "before", "after", "95 % interval", "verdict")
        console.print("what old tasks lost or won", highlight=False)
        print_table(titles, lines, console)
    told = {row.task for row in after}
    unknown = [name for name in extension.model.assembly.plans if name not in told]
    if unknown:
        what = f"not scored, as they have no metric or no held-out rows here: {', '.join(unknown)}"
        console.print(what, markup=False, highlight=False)


def _verdict(before: float, row: ScoreRow) -> str:
    """Whether the interval of the score after training has the one before in it: ``held``, ``won`` or ``lost``."""
    if not math.isfinite(row.low):
        return "the same" if before == row.score else ""
    if row.low <= before <= row.high:
        return "held"
    won = row.score > before if row.higher_is_better else row.score < before
    return "won" if won else "lost"
