"""Percentile bootstrap intervals (Efron, 1979) of scores over samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def interval(
    items: Sequence[float], *, share: float = 0.95, rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Interval of the mean of one number per sample.

    Returns:
        (low, high); (nan, nan) without samples.
    """
    values = np.asarray(items, dtype=np.float64)
    if len(values) == 0:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (rounds, len(values)))].mean(1)
    return _limits(means, share)


def resampled(
    score: Callable[[Sequence[int]], float], samples: int, *, share: float = 0.95, rounds: int = 100, seed: int = 0
) -> tuple[float, float]:
    """Interval of a score that is no mean: ``score`` is computed on drawn sample numbers, each time anew."""
    rng = np.random.default_rng(seed)
    values = [score(rng.integers(0, samples, samples).tolist()) for _ in range(rounds)]
    return _limits(np.asarray(values), share)


def _limits(values: np.ndarray, share: float) -> tuple[float, float]:
    tail = (1 - share) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
