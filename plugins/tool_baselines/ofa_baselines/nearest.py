"""The target of the nearest training row: by the cosine of texts, else by distance."""

from __future__ import annotations

import scipy.sparse as sparse

from ofa_baselines.library import library
from ofa_baselines.matrix import Matrix
from ofa_baselines.targets import taken
from ofacore.protocols import BaselineAnswers, BaselineTask, Options


class Nearest:
    """One neighbour; any kind of target."""

    def __init__(self, options: Options) -> None:
        """No options."""

    def __call__(self, task: BaselineTask) -> BaselineAnswers | None:
        matrix = Matrix.of(task)
        if matrix is None:
            return None
        kind = library("neighbors").NearestNeighbors
        metric = "cosine" if sparse.issparse(matrix.train) else "euclidean"
        search = kind(n_neighbors=1, metric=metric, algorithm="brute")
        places = search.fit(matrix.train).kneighbors(matrix.test, return_distance=False)
        return BaselineAnswers(f"{matrix.told} + nearest neighbour", taken(task, places[:, 0]))
