"""Some of many numbers, evenly spread, that meet what comes round regularly as often as it is there."""

from __future__ import annotations

import random
from collections.abc import Iterator


def scattered(size: int, most: int) -> Iterator[int]:
    """Up to ``most`` of the numbers below ``size``, in order: one of each of as many equal stretches.

    Where in its stretch a number lies follows no pattern, and is the same in every process: at equal distances all of
    them could fall on one of two kinds that take turns.
    """
    if size <= most:
        yield from range(size)
        return
    draw = random.Random(0)
    for number in range(most):
        start, end = number * size // most, (number + 1) * size // most
        yield draw.randrange(start, end)
