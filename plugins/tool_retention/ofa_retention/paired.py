"""Paired bootstrap (Efron, 1979): scores of several models on the same drawn rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

ROUNDS = 1000
"""Draws of rows."""
Interval = tuple[float, float]


def drawn_together(scores: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
    """Scores of each model on `ROUNDS` draws of rows, the same rows for all [ROUNDS].

    Models that give a number for each row are compared on the rows that all of them have. Where one gives scores of
    draws instead, so do the others; it then has fewer draws, which are repeated.
    """
    if all("items" in score for score in scores):
        names = [name for name in scores[0]["items"] if _have_row(scores, name)]
        items = []
        for score in scores:
            items.append([score["items"][name] for name in names])
        return _of_items(items)
    if all("draws" in score for score in scores):
        return [np.resize(_numbers(score["draws"]), ROUNDS) for score in scores]
    return [np.full(ROUNDS, np.nan) for _ in scores]


def _have_row(scores: Sequence[Mapping[str, Any]], name: str) -> bool:
    return all(name in score["items"] for score in scores)


def _of_items(items: Sequence[Sequence[float]]) -> list[np.ndarray]:
    count = len(items[0])
    if not count:
        return [np.full(ROUNDS, np.nan) for _ in items]
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, count, (ROUNDS, count))
    return [np.asarray(own, dtype=np.float64)[drawn].mean(1) for own in items]


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def limits(values: np.ndarray, share: float = 0.95) -> Interval:
    """The middle share of some numbers; (nan, nan) without any."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    tail = (1 - share) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def over_seeds(draws: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Means over seeds that are themselves drawn anew in each round [ROUNDS]."""
    stacked = np.stack(list(draws))
    count, rounds = stacked.shape
    picked = rng.integers(0, count, (count, rounds))
    return _mean(np.take_along_axis(stacked, picked, axis=0))


def over_tasks(tasks: Sequence[Sequence[np.ndarray]], seed: int = 0) -> np.ndarray:
    """Means over tasks, and over the seeds of each, all drawn anew in each round [ROUNDS].

    The same seeds are drawn for all tasks of a round, as one generalist has them all.
    """
    rng = np.random.default_rng(seed)
    stacked = np.stack([np.stack(list(draws)) for draws in tasks])  # [tasks, seeds, rounds]
    number, count, rounds = stacked.shape
    seeds = rng.integers(0, count, (count, rounds))
    picked = np.take_along_axis(stacked, np.broadcast_to(seeds, stacked.shape).copy(), axis=1)
    means = _mean(picked.swapaxes(0, 1))
    drawn = rng.integers(0, number, (number, rounds))
    return _mean(np.take_along_axis(means, drawn, axis=0))


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the first axis, of what is a number; nan where nothing is."""
    known = np.isfinite(values)
    count = known.sum(0)
    total = np.where(known, values, 0.0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
