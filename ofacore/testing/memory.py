"""Whether a repeated piece of work leaves memory behind."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable

import torch

WARM_UP = 20


def growth(work: Callable[[int], None], times: int) -> tuple[int, str]:
    """(bytes that ``times`` calls left behind, where most of them were allocated).

    Counts what Python and numpy allocate, and the storage of live tensors. The first calls, which fill caches, do not
    count.
    """
    for number in range(WARM_UP):
        work(number)
    tensors = _tensor_bytes()
    tracemalloc.start(1)
    try:
        before = tracemalloc.take_snapshot()
        for number in range(WARM_UP, WARM_UP + times):
            work(number)
        grown_tensors = _tensor_bytes() - tensors
        statistics = tracemalloc.take_snapshot().compare_to(before, "lineno")
    finally:
        tracemalloc.stop()
    own = [s for s in statistics if s.traceback[0].filename not in (tracemalloc.__file__, __file__)]
    grown = sum(s.size_diff for s in own)
    largest = max(own, key=lambda s: s.size_diff, default=None)
    where = "" if largest is None else f"most at {largest.traceback[0].filename}:{largest.traceback[0].lineno}"
    if grown_tensors > 0:
        where += f"; {grown_tensors / 1024:.0f} KiB of it tensors"
    return max(grown, 0) + max(grown_tensors, 0), where


def _tensor_bytes() -> int:
    gc.collect()
    tensors = (found for found in gc.get_objects() if issubclass(type(found), torch.Tensor))
    return sum(found.untyped_storage().nbytes() for found in tensors)
