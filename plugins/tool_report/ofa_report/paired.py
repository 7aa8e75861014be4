"""Intervals of the difference between two scores of the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

from ofacore.evaluation.bootstrap import drawn_interval, share_interval


def paired_interval(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean of ``after - before``, at least one row: by a bootstrap over rows.

    Where each row is right or wrong, by Newcombe's method 10 (1998), which is Wilson's interval for pairs: it knows
    that two runs which agree on ten rows may differ on the next.
    """
    first, second = np.asarray(before, float), np.asarray(after, float)
    if np.isin(np.concatenate([first, second]), (0.0, 1.0)).all():
        return _of_shares(first, second)
    return drawn_interval((second - first).tolist())


def _of_shares(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    rows = len(first)
    one, two = float(first.mean()), float(second.mean())
    low_one, high_one = share_interval(one, rows)
    low_two, high_two = share_interval(two, rows)
    alike = _correlation(first, second)
    down, up = (
        _joined(two - low_two, high_one - one, alike),
        _joined(high_two - two, one - low_one, alike),
    )
    return two - one - down, two - one + up


def _joined(own: float, other: float, alike: float) -> float:
    return sqrt(max(0.0, own**2 - 2 * alike * own * other + other**2))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Phi of the table of pairs, with Newcombe's correction for few rows; 0 where one run is always right or wrong."""
    both, neither = float((first * second).sum()), float(((1 - first) * (1 - second)).sum())
    lost, won = float((first * (1 - second)).sum()), float(((1 - first) * second).sum())
    sizes = (both + lost) * (won + neither) * (both + won) * (lost + neither)
    if sizes == 0:
        return 0.0
    product = both * neither - lost * won
    if product > 0:
        product = max(0.0, product - len(first) / 2)
    return product / sqrt(sizes)
