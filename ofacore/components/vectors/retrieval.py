"""Retrieval over the two sides of a contrast: how often the partner is among the nearest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from ofacore.protocols import Options

_PIECE = 1024
"""Queries compared at a time."""


class Recall:
    """Recall@k: the share of rows whose partner is among the k nearest of all rows, by product of the vectors.

    Partners that are equally near are taken in a random order, in expectation: vectors that are all the same score k of
    the number of rows.

    Options:
        k: One number, or a list of them; the first is the score.
    """

    higher_is_better: ClassVar[bool] = True
    needs: ClassVar[str] = "embeddings"

    def __init__(self, options: Options) -> None:
        given = options["k"]
        self.sizes = [int(k) for k in (given if isinstance(given, list | tuple) else [given])]
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"k is {given!r}: one number from 1, or a list of them")
        self._queries: list[np.ndarray] = []
        self._partners: list[np.ndarray] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Vectors [size] of one side, and those of their partners."""
        self._queries += [np.asarray(vector, np.float32) for vector in predictions]
        self._partners += [np.asarray(vector, np.float32) for vector in references]

    def compute(self) -> dict[str, float]:
        """``recall@k`` for each k; nan of nothing."""
        hits = {k: self._hits(k) for k in self.sizes}
        return {
            f"recall@{k}": float(found.mean()) if len(found) else float("nan")
            for k, found in hits.items()
        }

    def merge(self, other: Recall) -> None:
        """Add the vectors that another instance has seen."""
        self._queries += other._queries
        self._partners += other._partners

    def items(self) -> Sequence[float]:
        """For each row the probability that its partner is found, at the first k."""
        found: list[float] = self._hits(self.sizes[0]).tolist()
        return found

    def _hits(self, k: int) -> np.ndarray:
        if not self._queries:
            return np.zeros(0)
        queries = np.stack(self._queries)
        # Each vector once: the products of equal ones may differ in their last digit by where they stand.
        partners, places = np.unique(np.stack(self._partners), axis=0, return_inverse=True)
        found = []
        for start in range(0, len(queries), _PIECE):
            nearness = (queries[start : start + _PIECE] @ partners.T)[:, places.reshape(-1)]
            own = nearness[np.arange(len(nearness)), np.arange(start, start + len(nearness))][
                :, None
            ]
            nearer = (nearness > own).sum(1)
            equal = (nearness == own).sum(1)
            found.append(np.clip((k - nearer) / equal, 0.0, 1.0))
        return np.concatenate(found)
