"""A random forest, where all inputs are columns of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from ofa_baselines.library import library
from ofa_baselines.matrix import Matrix
from ofa_baselines.targets import as_written, classes, numbers
from ofacore.protocols import BaselineAnswers, BaselineTask, Options

_CLASSES = 500


class Forest:
    """Option ``trees``: their number."""

    def __init__(self, options: Options) -> None:
        self._trees = int(options["trees"])

    def __call__(self, task: BaselineTask) -> BaselineAnswers | None:
        labels, wanted = classes(task, _CLASSES), numbers(task)
        if labels is None and wanted is None:
            return None
        matrix = Matrix.of(task)
        if matrix is None or not matrix.numeric:
            return None
        if labels is None:
            assert wanted is not None
            asked = wanted[:, 0] if wanted.shape[1] == 1 else wanted
            model = _forest("RandomForestRegressor", self._trees).fit(matrix.train, asked)
            predicted = np.asarray(model.predict(matrix.test)).reshape(len(task.test), -1)
            values = as_written(task, predicted)
        else:
            names = sorted(set(labels), key=str)
            places = {name: place for place, name in enumerate(names)}
            model = _forest("RandomForestClassifier", self._trees)
            model.fit(matrix.train, [places[label] for label in labels])
            values = [names[int(place)] for place in model.predict(matrix.test)]
        return BaselineAnswers("columns + random forest", values)


def _forest(name: str, trees: int) -> Any:
    return getattr(library("ensemble"), name)(trees, random_state=0)
