"""Intervals of scores over samples: shares have Wilson's (1927), all else the bootstrap's (Efron, 1979)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np


def interval(
    items: Sequence[float], *, share: float = 0.95, rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Interval of the mean of one number per sample; where all of them are 0 or 1, that of a share.

    Returns:
        (low, high); (nan, nan) without samples.
    """
    values = np.asarray(items, dtype=np.float64)
    if len(values) == 0:
        return float("nan"), float("nan")
    if np.isin(values, (0.0, 1.0)).all():
        return share_interval(float(values.mean()), len(values), share=share)
    return drawn_interval(items, share=share, rounds=rounds, seed=seed)


def drawn_interval(
    items: Sequence[float], *, share: float = 0.95, rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Interval of the mean of any numbers, at least one, by drawing them again and again."""
    values, rng = np.asarray(items, dtype=np.float64), np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (rounds, len(values)))].mean(1)
    return _limits(means, share)


def share_interval(found: float, samples: int, *, share: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share: it knows that 9 right of 9 may be luck, where drawing them again cannot tell."""
    z = NormalDist().inv_cdf((1 + share) / 2)
    weight = 1 / (1 + z * z / samples)
    centre = weight * (found + z * z / (2 * samples))
    half = weight * z * sqrt(found * (1 - found) / samples + (z / (2 * samples)) ** 2)
    # At the ends exactly: what is left of rounding is no share.
    low = 0.0 if found == 0 else max(0.0, centre - half)
    high = 1.0 if found == 1 else min(1.0, centre + half)
    return low, high


def resampled(
    scores: Callable[[Sequence[int]], Mapping[str, float]],
    samples: int,
    *,
    share: float = 0.95,
    rounds: int = 100,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Intervals of scores that are no means: all are computed on drawn sample numbers, each time anew.

    A score that a draw does not have, or that is not a number there, counts only in the others.
    """
    rng = np.random.default_rng(seed)
    drawn = [scores(rng.integers(0, samples, samples).tolist()) for _ in range(rounds)]
    names = dict.fromkeys(name for values in drawn for name in values)
    limits = {}
    for name in names:
        of_name = [values.get(name, np.nan) for values in drawn]
        limits[name] = _limits(np.array(of_name), share)
    return limits


def _limits(values: np.ndarray, share: float) -> tuple[float, float]:
    tail = (1 - share) / 2
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (np.nan, np.nan)
    return float(low), float(high)
