"""Runs side by side: the scores of each, and paired differences over the rows that both have answered."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

from ofa_report.paired import paired_interval
from ofacore.evaluation.predictions import Prediction
from ofacore.evaluation.report import ScoreRow
from ofacore.evaluation.results import read_predictions, read_scores

Key = tuple[str, str]
"""Task and metric."""


@dataclass(frozen=True)
class ScoredRun:
    """What scoring left in a folder."""

    name: str
    scores: Mapping[Key, ScoreRow]
    predictions: Mapping[str, Sequence[Prediction]]


@dataclass(frozen=True)
class Difference:
    """A run's score less that of the first run."""

    task: str
    metric: str
    run: str
    higher_is_better: bool
    difference: float
    """Over the rows that both have; of the whole scores where rows have no numbers of their own."""
    low: float = nan
    high: float = nan
    """Ends of the paired 95 % interval over rows; nan where rows have no numbers of their own."""
    rows: int = 0
    """Rows that both have."""
    unlike: int = 0
    """Rows of one name whose references differ: they are left out."""

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``not told apart``, or nothing where there is no interval."""
        if self.low != self.low:
            return ""
        if self.low <= 0 <= self.high:
            return "not told apart"
        return "better" if (self.low > 0) == self.higher_is_better else "worse"


def read_runs(folders: Sequence[Path]) -> list[ScoredRun]:
    """The results of some folders; two of one name are told apart by their paths.

    Raises:
        ResultsError: One has no scores, or they cannot be read.
    """
    names = [folder.resolve().name for folder in folders]
    runs = []
    for folder, name in zip(folders, names, strict=True):
        scores = {(row.task, row.metric): row for row in read_scores(folder)}
        shown = name if names.count(name) == 1 else str(folder)
        runs.append(ScoredRun(shown, scores, read_predictions(folder)))
    return runs


def keys(runs: Sequence[ScoredRun]) -> list[Key]:
    """All tasks and metrics, in the order of the first run that has them."""
    return list(dict.fromkeys(key for run in runs for key in run.scores))


def differences(runs: Sequence[ScoredRun]) -> list[Difference]:
    """Each run against the first, for all tasks and metrics that both have."""
    first, found = runs[0], []
    for key in keys(runs):
        for run in runs[1:]:
            if key in first.scores and key in run.scores:
                found.append(_difference(key, first, run))
    return found


def _difference(key: Key, first: ScoredRun, other: ScoredRun) -> Difference:
    task, metric = key
    higher = other.scores[key].higher_is_better
    before = _of_rows(first.predictions.get(task, ()), metric)
    after = _of_rows(other.predictions.get(task, ()), metric)
    both = [name for name in before if name in after]
    alike = [name for name in both if before[name].references == after[name].references]
    if not alike:
        whole = other.scores[key].score - first.scores[key].score
        return Difference(task, metric, other.name, higher, whole, unlike=len(both))
    old = [before[name].scores[metric] for name in alike]
    new = [after[name].scores[metric] for name in alike]
    mean = (sum(new) - sum(old)) / len(alike)
    low, high = paired_interval(old, new)
    unlike = len(both) - len(alike)
    return Difference(task, metric, other.name, higher, mean, low, high, len(alike), unlike)


def _of_rows(predictions: Sequence[Prediction], metric: str) -> dict[str, Prediction]:
    """By the name of the row, those that have a number for a metric.

    The folder that all rows are in is no part of the name: the same file may have been named by another path.
    """
    found = [one for one in predictions if metric in one.scores]
    common = len(os.path.commonprefix([one.row.rpartition("/")[0] + "/" for one in found]))
    start = found[0].row.rfind("/", 0, common) + 1 if found else 0
    return {one.row[start:]: one for one in found}
