"""Where a chain of layers is cut into pipeline stages. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate

from ofacore.ground.errors import UserError


class PipelineError(UserError):
    """Something that cannot be cut into stages, or does not work across them."""


_REFUSED = {
    "attention": "reads attention weights, which other pipeline stages hold",
    "rollout": "trains on sequences sampled from the model, which no pipeline stage can do alone",
}


def refusal(criterion: str, need: str) -> str:
    """Why a criterion that needs something (see `ofacore.protocols.Criterion`) does not work across stages."""
    return f"criterion '{criterion}' {_REFUSED[need]}; use --pp 1, or another criterion"


def refusal_in_step(criterion: str, flag: str) -> str:
    """Why a criterion that needs a rollout does not work where data ranks compute every layer together."""
    return (
        f"criterion '{criterion}' trains on sequences sampled from the model, each data rank on its own; with {flag} "
        f"they compute every layer together; leave {flag} out, or use another criterion"
    )


def cut(costs: Sequence[float], stages: int) -> tuple[range, ...]:
    """Cut a chain into contiguous stages so that the most expensive one costs as little as possible.

    Among cuts that are equal in this, the one with the most even stages wins.

    Args:
        costs: Cost of each link, in any unit.
        stages: Number of stages; each gets at least one link.

    Raises:
        PipelineError: There are more stages than links.
    """
    if stages > len(costs):
        raise PipelineError(
            f"{stages} pipeline stages cannot share {len(costs)} layers (encoder and decoder together); "
            f"at most {len(costs)} stages, or more layers"
        )
    sums = [0.0, *accumulate(costs)]

    @cache
    def best(stop: int, parts: int) -> tuple[float, float, tuple[int, ...]]:
        """(Highest cost, sum of squares, ends) of the best cut of the first ``stop`` links."""
        if parts == 1:
            return sums[stop], sums[stop] ** 2, (stop,)
        options = []
        for start in range(parts - 1, stop):
            highest, squares, ends = best(start, parts - 1)
            own = sums[stop] - sums[start]
            options.append((max(highest, own), squares + own**2, (*ends, stop)))
        return min(options)

    ends = best(len(costs), stages)[2]
    return tuple(range(start, stop) for start, stop in zip((0, *ends), ends, strict=False))
