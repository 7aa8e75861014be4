"""Weights of runs: given, or searched one coordinate after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ofa_merge.method import Method
from ofacore.ground.errors import UserError

GRID = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Weights that the search tries for each run."""
_ROUNDS = 3
"""Times that the search goes through all runs, at most."""


def read_weights(text: str) -> tuple[float, ...]:
    """``0.5,0.3`` of the command line.

    Raises:
        UserError: That are no numbers.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(
            f"--weights '{text}': expected numbers with commas between, as 0.5,0.3"
        ) from None


def check_weights(weights: Sequence[float], runs: Sequence[str], method: Method) -> None:
    """One finite weight for each run; of a mean none is below zero, and not all are zero.

    Raises:
        UserError: It is otherwise.
    """
    if len(weights) != len(runs):
        given = "1 weight" if len(weights) == 1 else f"{len(weights)} weights"
        raise UserError(f"{given} for {len(runs)} runs; give one for each of {', '.join(runs)}")
    if not all(math.isfinite(weight) for weight in weights):
        raise UserError(f"weights {list(weights)}: expected finite numbers")
    if not method.from_ancestor and (min(weights) < 0 or not any(weights)):
        raise UserError(
            f"weights {list(weights)}: '{method.name}' takes shares: none below zero, one above"
        )


@dataclass(frozen=True)
class Searched:
    """What a search found."""

    weights: tuple[float, ...]
    objective: float
    begun: float
    """Objective of the weights that it began with."""
    tried: int
    """Weights that were tried."""


def search_weights(
    objective: Callable[[tuple[float, ...]], float],
    start: Sequence[float],
    shares: bool,
    grid: Sequence[float] = GRID,
) -> Searched:
    """Coordinate search: each run's weight in turn takes the value of a grid that is best, until none gets better.

    Args:
        objective: What is to be small.
        start: Weights to begin with.
        shares: Weights matter by their ratio, and cannot all be zero.
        grid: Values that are tried.
    """
    known: dict[tuple[float, ...], float] = {}

    def value(weights: tuple[float, ...]) -> float:
        key = weights
        if shares:
            total = sum(weights)
            key = tuple(round(weight / total, 9) for weight in weights)
        if key not in known:
            known[key] = objective(weights)
        return known[key]

    best = tuple(float(weight) for weight in start)
    begun = value(best)
    for _ in range(_ROUNDS):
        before = best
        for place in range(len(best)):
            for candidate in grid:
                tried = (*best[:place], float(candidate), *best[place + 1 :])
                if shares and not any(tried):
                    continue
                if value(tried) < value(best):
                    best = tried
        if best == before:
            break
    return Searched(best, value(best), begun, len(known))
