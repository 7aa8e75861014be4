"""Whether a repeated piece of work leaves memory behind."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import torch

WARM_UP = 50
PARTS = 4
"""Memory is looked at in as many parts of the work, and the part that left least behind counts for all: what leaks does
so in each of them; a cache filled late, a module imported late or another thread is seen in some."""


def growth(work: Callable[[int], None], times: int) -> tuple[int, str]:
    """(bytes that ``times`` calls left behind, where most of them were allocated).

    Counts what Python and numpy allocate, and the storage of live tensors. The first calls, which fill caches, do not
    count, nor does what lives before the others begin.
    """
    size = max(1, times // PARTS)
    tracemalloc.start(1)
    try:
        for number in range(WARM_UP):
            work(number)
        gc.collect()
        gc.freeze()
        parts = [
            _part(work, range(start, start + size))
            for start in range(WARM_UP, WARM_UP + PARTS * size, size)
        ]
    finally:
        tracemalloc.stop()
        gc.unfreeze()
    grown, where = min(parts)
    return grown * PARTS, where


def _part(work: Callable[[int], None], numbers: range) -> tuple[int, str]:
    tensors = _tensor_bytes()
    before = tracemalloc.take_snapshot()
    for number in numbers:
        work(number)
    grown_tensors = max(0, _tensor_bytes() - tensors)
    statistics = tracemalloc.take_snapshot().compare_to(before, "lineno")
    own = [s for s in statistics if s.traceback[0].filename not in (tracemalloc.__file__, __file__)]
    grown = max(0, sum(s.size_diff for s in own))
    largest = max(own, key=lambda s: s.size_diff, default=None)
    where = (
        ""
        if largest is None
        else f"most at {largest.traceback[0].filename}:{largest.traceback[0].lineno}"
    )
    if grown_tensors:
        where += f"; {grown_tensors * PARTS / 1024:.0f} KiB of it tensors"
    return grown + grown_tensors, where


def _tensor_bytes() -> int:
    gc.collect()
    tensors = (found for found in gc.get_objects() if issubclass(type(found), torch.Tensor))
    return sum(found.untyped_storage().nbytes() for found in tensors)
