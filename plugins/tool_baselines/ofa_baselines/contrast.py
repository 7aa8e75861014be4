"""Baselines of contrasts: words that both sides share, and the partner of the nearest training row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from ofa_baselines.library import library
from ofa_baselines.matrix import Matrix, reduced
from ofacore.protocols import BaselineTask, ContrastAnswers, ContrastTask, Options

Inputs = Sequence[Mapping[str, Any]]
_NEIGHBOURS = 5
"""Training rows whose partners are averaged, by how near they are."""


class SharedWords:
    """Both sides in one space of words and runs of letters, where both are texts."""

    embeds: ClassVar[Literal[True]] = True

    def __init__(self, options: Options) -> None:
        """No options."""

    def __call__(self, task: ContrastTask) -> ContrastAnswers | None:
        left, right = (_texts(rows) for rows in (task.left, task.right))
        asked = [_texts(rows) for rows in (task.test_left, task.test_right)]
        if left is None or right is None or any(rows is None for rows in asked):
            return None
        both = [{"text": text} for text in [*left, *right]]
        tests = [{"text": text} for rows in asked for text in rows or ()]
        kind = next(iter(task.types.values()), "")
        matrix = Matrix.of(BaselineTask(both, (), tests, {"text": kind}))
        if matrix is None or matrix.numeric:
            return None
        _, vectors = reduced(matrix.train, matrix.test)
        count = len(task.test_left)
        return ContrastAnswers(
            matrix.told, list(unit(vectors[:count])), list(unit(vectors[count:]))
        )


class NeighbourPairs:
    """A row is where the partners of the nearest training rows are."""

    embeds: ClassVar[Literal[True]] = True

    def __init__(self, options: Options) -> None:
        """No options."""

    def __call__(self, task: ContrastTask) -> ContrastAnswers | None:
        left = Matrix.of(BaselineTask(task.left, (), task.test_left, task.types))
        right = Matrix.of(BaselineTask(task.right, (), task.test_right, task.types))
        if left is None or right is None:
            return None
        count = min(_NEIGHBOURS, len(task))
        kind = library("neighbors").NearestNeighbors
        search = kind(n_neighbors=count, metric="cosine", algorithm="brute").fit(left.train)
        distances, places = search.kneighbors(left.test)
        partners, asked = (unit(vectors) for vectors in reduced(right.train, right.test))
        weights = np.maximum(1.0 - distances, 1e-6)[..., None]
        found = (partners[places] * weights).sum(axis=1)
        return ContrastAnswers(f"{left.told} + nearest neighbours", list(unit(found)), list(asked))


def unit(vectors: Any) -> np.ndarray:
    """Vectors [rows, size] of length one, float32."""
    found = np.asarray(vectors, np.float32)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)


def _texts(rows: Inputs) -> list[str] | None:
    """The text of each row; None where a side is more than one text."""
    values = [value for row in rows for value in row.values()]
    if len(values) != len(rows) or not all(isinstance(value, str) for value in values):
        return None
    return values
