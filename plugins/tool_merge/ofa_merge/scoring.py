"""What each task keeps: scores of the merged model beside those of the runs that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from ofa_merge.opened import OpenedRun
from ofacore.evaluation.evaluation_errors import EvaluationError
from ofacore.evaluation.report import ScoreRow
from ofacore.generalist.facade import Generalist
from ofacore.generalist.storing import load
from ofacore.ground.errors import UserError
from ofacore.setup.datasets import TaskRows


@dataclass(frozen=True)
class KeptRow:
    """One metric of a task."""

    task: str
    metric: str
    merged: float | None
    specialist: float | None
    """Score of the best of the runs that have the task."""
    run: str
    """That run."""
    baseline: float | None
    higher_is_better: bool
    rows: int
    problem: str = ""
    """Why there is no score; empty where there is one."""

    @property
    def kept(self) -> float | None:
        """What is left of the specialist's lead over the baseline (over 0 without one): 1 is all; None: no lead."""
        if self.merged is None or self.specialist is None:
            return None
        ground = self.baseline or 0.0
        if not self.higher_is_better and self.baseline is None:
            return self.specialist / self.merged if self.merged else None
        lead = self.specialist - ground
        if not lead or (lead > 0) != self.higher_is_better:
            return None
        return (self.merged - ground) / lead

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**vars(self), "kept": self.kept}


def keep_table(
    merged: Path,
    runs: Sequence[OpenedRun],
    data: Mapping[str, TaskRows],
    lost: Mapping[str, str],
    limit: int | None,
    tell: Callable[[str], None],
) -> list[KeptRow]:
    """Score the merged model and every run on held-out rows of the tasks; one model is in memory at a time.

    Args:
        merged: Its run folder.
        runs: What it was made of.
        data: Task -> rows.
        lost: Task -> why it has no rows.
        limit: Most rows of a task.
        tell: Is told which model is scored.
    """
    scores = {}
    for number, run in enumerate(runs):
        tell(f"scoring '{run.name}' (model {number + 1} of {len(runs) + 1})")
        scores[run.name] = _scores(run.place, data, limit, baseline=False)
    tell(f"scoring the merged model ({len(runs) + 1} of {len(runs) + 1})")
    found = []
    for (task, metric), row in _scores(merged, data, limit, baseline=True).items():
        rivals = {name: own[task, metric] for name, own in scores.items() if (task, metric) in own}
        rivals = {name: rival for name, rival in rivals.items() if _number(rival) is not None}
        better = max if row.higher_is_better else min
        best = better(rivals, key=lambda name: rivals[name].score) if rivals else ""
        best_score = rivals[best].score if best else None
        found.append(
            KeptRow(
                task,
                metric,
                _number(row),
                best_score,
                best,
                row.baseline,
                row.higher_is_better,
                row.samples,
                row.problem,
            )
        )
    missing = [KeptRow(task, "", None, None, "", None, True, 0, why) for task, why in lost.items()]
    return [*found, *missing]


def _scores(
    place: Path, data: Mapping[str, TaskRows], limit: int | None, baseline: bool
) -> dict[tuple[str, str], ScoreRow]:
    """(task, metric) -> its score; what cannot be scored says why."""
    generalist = load(place, None)
    generalist.data = {name: data[name] for name in generalist.tasks if name in data}
    found: dict[tuple[str, str], ScoreRow] = {}
    for task in generalist.data:
        for row in _of_task(generalist, task, limit, baseline):
            found[task, row.metric] = row
    return found


def _of_task(
    generalist: Generalist, task: str, limit: int | None, baseline: bool
) -> list[ScoreRow]:
    try:
        return generalist.evaluate(task, limit=limit, baseline=baseline)
    except EvaluationError as error:
        return list(error.scores)
    except UserError as error:
        nothing = float("nan")
        return [ScoreRow(task, "", nothing, nothing, nothing, None, "", 0, problem=str(error))]


def _number(row: ScoreRow) -> float | None:
    return row.score if not row.problem and isfinite(row.score) else None
