"""From scores to what the report says of each task, and of all together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite, nan
from typing import Any

import numpy as np

from ofa_retention.paired import drawn_together, limits, over_seeds, over_tasks
from ofa_retention.study import SPECIALISTS, Shift, Study
from ofa_retention.trainings import Training
from ofa_retention.working import is_trained, taken, wanted

_SPECIALIST, _GENERALIST, _BASELINE = range(3)
"""Places in what a `_Pair` holds."""


@dataclass(frozen=True)
class Retained:
    """One task of one generalist, beside its specialist. Numbers are means over seeds; nan: not known."""

    variant: str
    task: str
    metric: str
    higher_is_better: bool
    seeds: int
    """Seeds with a score of both."""
    baseline: float
    baseline_doc: str
    specialist: float
    generalist: float
    difference: float
    """Generalist - specialist; of errors, where less is better, specialist - generalist."""
    difference_low: float
    difference_high: float
    ratio: float
    """Generalist / specialist; of errors specialist / generalist."""
    normalised: float
    """(generalist - baseline) / (specialist - baseline); nan where the specialist is not above the baseline by the 95 %
    interval: a quotient of two numbers near zero says nothing."""
    normalised_low: float
    normalised_high: float
    clears: bool | None
    """Whether the generalist is better than the baseline by the 95 % interval; None without a baseline."""
    samples: int
    """Of training, for either model."""
    problem: str = ""


@dataclass(frozen=True)
class Mean:
    """A generalist over its tasks."""

    variant: str
    tasks: int
    ratio: float
    ratio_low: float
    ratio_high: float
    normalised: float
    normalised_low: float
    normalised_high: float
    normalised_tasks: int
    """Tasks whose specialist is above the baseline by the interval."""
    clear: int
    """Tasks above their baseline by the interval."""
    parameters: int
    """Of the generalist, of the first seed."""
    specialists_parameters: int
    """Of all its specialists together."""
    seconds: float
    """Of training, mean over seeds."""
    specialists_seconds: float
    samples: int


@dataclass(frozen=True)
class _Pair:
    """Scores of one task and seed, on rows as they are, and on drawn rows [rounds]."""

    points: tuple[float, float, float]
    """Specialist, generalist, baseline; errors are negated."""
    draws: tuple[np.ndarray, np.ndarray, np.ndarray]
    sign: float = 1.0
    """-1 of errors."""

    @property
    def difference(self) -> np.ndarray:
        return self.draws[1] - self.draws[0]

    @property
    def ratio(self) -> np.ndarray:
        return _ratio(self.draws[0], self.draws[1], self.sign)

    @property
    def normalised(self) -> np.ndarray:
        return _normalised(*self.draws)


def _ratio(specialist: Any, generalist: Any, sign: float) -> np.ndarray:
    """Of errors, which are negated and have the sign -1, the other way round."""
    above, below = np.asarray(generalist, dtype=float), np.asarray(specialist, dtype=float)
    if sign < 0:
        above, below = below, above
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)


def _normalised(specialist: Any, generalist: Any, baseline: Any) -> np.ndarray:
    above = np.asarray(generalist, dtype=float) - np.asarray(baseline, dtype=float)
    room = np.asarray(specialist, dtype=float) - np.asarray(baseline, dtype=float)
    return np.divide(above, room, out=np.full_like(above, np.nan), where=room > 0)


def of_tasks(
    study: Study, trainings: Sequence[Training], shift: Shift | None = None
) -> list[Retained]:
    """Every variant and task, of which at least one model has a score; those of a shift, if given."""
    variants = [variant.name for variant in study.variants]
    tasks = dict.fromkeys(task for training in trainings for task in training.tasks)
    wanted_tasks = [task for task in tasks if shift is None or task == shift.task]
    return [
        _retained(variant, task, trainings, shift) for variant in variants for task in wanted_tasks
    ]


def _retained(
    variant: str, task: str, trainings: Sequence[Training], shift: Shift | None
) -> Retained:
    alone = _scores(SPECIALISTS, task, trainings, shift)
    whole = _scores(variant, task, trainings, shift)
    problems = [s["problem"] for s in [*alone.values(), *whole.values()] if s["problem"]]
    alone, whole = _usable(alone), _usable(whole)
    any_score = next(iter([*whole.values(), *alone.values()]), {})
    sign = 1.0 if any_score.get("higher_is_better", True) else -1.0
    pairs = [_pair(alone[seed], whole[seed], sign) for seed in alone if seed in whole]
    rng = np.random.default_rng(0)
    difference = over_seeds([p.difference for p in pairs], rng) if pairs else np.array([])
    normalised = over_seeds([p.normalised for p in pairs], rng) if pairs else np.array([])
    low, high = limits(difference)
    normal_low, normal_high = limits(normalised)
    specialist, generalist = _mean_score(alone), _mean_score(whole)
    baseline = _mean_score({k: v["baseline"] for k, v in alone.items() if v["baseline"]})
    if not isfinite(baseline):
        baseline = _mean_score({k: v["baseline"] for k, v in whole.items() if v["baseline"]})
    ratio = float(_ratio(sign * specialist, sign * generalist, sign)) if pairs else nan
    share = nan
    if _clears(pairs, _SPECIALIST):
        share = float(_normalised(sign * specialist, sign * generalist, sign * baseline))
    if not isfinite(share):
        normal_low, normal_high = nan, nan
    samples = next((t.samples[task] for t in trainings if task in t.tasks), 0)
    label = shift.label if shift else task
    problem = problems[0] if problems else ""
    return Retained(
        variant=variant,
        task=label,
        metric=any_score.get("metric", ""),
        higher_is_better=sign > 0,
        seeds=len(pairs),
        baseline=baseline,
        baseline_doc=any_score.get("baseline_doc", ""),
        specialist=specialist,
        generalist=generalist,
        difference=sign * (generalist - specialist),
        difference_low=low,
        difference_high=high,
        ratio=ratio,
        normalised=share,
        normalised_low=normal_low,
        normalised_high=normal_high,
        clears=_clears(pairs, _GENERALIST),
        samples=samples,
        problem=problem,
    )


def _scores(
    model: str, task: str, trainings: Sequence[Training], shift: Shift | None
) -> dict[int, dict[str, Any]]:
    """Seed -> score of a model on a task."""
    found: dict[int, dict[str, Any]] = {}
    for training in trainings:
        if training.model == model and task in training.tasks:
            score = wanted(training, task, shift)
            if score is not None:
                found[training.seed] = _comparable(score)
    return found


def _comparable(score: dict[str, Any]) -> dict[str, Any]:
    """A score that is no number, as a correlation with what never differs, is a problem; such a baseline is none."""
    if score["problem"]:
        return score
    if score["score"] is None:
        return {"problem": f"{score['metric']} of what it answers is no number"}
    baseline = score["baseline"]
    if baseline and baseline["score"] is None:
        return {**score, "baseline": None}
    return score


def _usable(scores: Mapping[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {seed: score for seed, score in scores.items() if not score["problem"]}


def _mean_score(scores: Mapping[int, Mapping[str, Any]]) -> float:
    return _mean_or_nan([score["score"] for score in scores.values()])


def _mean_or_nan(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else nan


def _pair(alone: Mapping[str, Any], whole: Mapping[str, Any], sign: float) -> _Pair:
    baseline = alone["baseline"] or whole["baseline"]
    scores = [alone, whole, baseline] if baseline else [alone, whole]
    draws = [sign * draw for draw in drawn_together(scores)]
    points = [sign * score["score"] for score in scores]
    if not baseline:
        draws.append(np.full_like(draws[0], np.nan))
        points.append(nan)
    return _Pair((points[0], points[1], points[2]), (draws[0], draws[1], draws[2]), sign)


def _clears(pairs: Sequence[_Pair], model: int) -> bool | None:
    """Whether a model of each pair is better than the baseline by the interval; None without a baseline."""
    if not pairs or not isfinite(pairs[0].points[_BASELINE]):
        return None
    above = [pair.draws[model] - pair.draws[_BASELINE] for pair in pairs]
    return limits(over_seeds(above, np.random.default_rng(0)))[0] > 0


def of_variants(study: Study, trainings: Sequence[Training]) -> list[Mean]:
    """Means over the tasks for which specialist and generalist have scores of every seed."""
    rows = of_tasks(study, trainings)
    found: list[Mean] = []
    for variant in study.variants:
        own = [row for row in rows if row.variant == variant.name and row.seeds]
        if own:
            found.append(_mean(variant.name, own, trainings))
    return found


def _mean(variant: str, rows: Sequence[Retained], trainings: Sequence[Training]) -> Mean:
    most = max(row.seeds for row in rows)
    rows = [row for row in rows if row.seeds == most]
    pairs = [_pairs(variant, row.task, trainings) for row in rows]
    ratios: list[list[np.ndarray]] = []
    shares: list[list[np.ndarray]] = []
    for row, own in zip(rows, pairs, strict=True):
        ratios.append([pair.ratio for pair in own])
        if isfinite(row.normalised):
            shares.append([pair.normalised for pair in own])
    ratio_low, ratio_high = limits(over_tasks(ratios))
    share_low, share_high = limits(over_tasks(shares)) if shares else (nan, nan)
    known_ratios = [row.ratio for row in rows if isfinite(row.ratio)]
    known_shares = [row.normalised for row in rows if isfinite(row.normalised)]
    names = {row.task for row in rows}
    own_runs = _taken([t for t in trainings if t.model == variant])
    own_parameters = own_runs[0]["parameters"] if own_runs else 0
    own_seconds = sum(run["seconds"] for run in own_runs) / max(1, len(own_runs))
    own_samples = own_runs[0]["samples"] if own_runs else 0
    alone = [t for t in trainings if t.model == SPECIALISTS and set(t.tasks) <= names]
    alone_seconds = sum(run["seconds"] for run in _taken(alone)) / most
    first = min((t.seed for t in alone), default=0)
    of_first_seed = _taken([t for t in alone if t.seed == first])
    alone_parameters = sum(run["parameters"] for run in of_first_seed)
    return Mean(
        variant=variant,
        tasks=len(rows),
        ratio=_mean_or_nan(known_ratios),
        ratio_low=ratio_low,
        ratio_high=ratio_high,
        normalised=_mean_or_nan(known_shares),
        normalised_low=share_low,
        normalised_high=share_high,
        normalised_tasks=len(known_shares),
        clear=sum(row.clears is True for row in rows),
        parameters=own_parameters,
        specialists_parameters=alone_parameters,
        seconds=own_seconds,
        specialists_seconds=alone_seconds,
        samples=own_samples,
    )


def _pairs(variant: str, task: str, trainings: Sequence[Training]) -> list[_Pair]:
    alone = _usable(_scores(SPECIALISTS, task, trainings, None))
    whole = _usable(_scores(variant, task, trainings, None))
    any_score = next(iter(whole.values()))
    sign = 1.0 if any_score["higher_is_better"] else -1.0
    return [_pair(alone[seed], whole[seed], sign) for seed in sorted(alone) if seed in whole]


def _taken(trainings: Sequence[Training]) -> list[dict[str, Any]]:
    return [taken(training) for training in trainings if is_trained(training)]


def plain(row: Retained | Mean) -> dict[str, Any]:
    """As JSON has it: numbers that are not finite are null."""
    return {
        key: None if isinstance(value, float) and not isfinite(value) else value
        for key, value in asdict(row).items()
    }
