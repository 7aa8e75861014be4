"""Logistic regression of classes, ridge regression of numbers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ofa_baselines.library import library
from ofa_baselines.matrix import Matrix
from ofa_baselines.targets import as_written, classes, numbers
from ofacore.protocols import BaselineAnswers, BaselineTask, Options

_MANY = 30
"""Classes from which the same loss is minimised by stochastic steps, which is faster."""


_PASSES = 50
"""Most steps of the solver, which on pictures beside texts would take thousands."""


class Linear:
    """Option ``classes``: most classes."""

    def __init__(self, options: Options) -> None:
        self._classes = int(options["classes"])

    def __call__(self, task: BaselineTask) -> BaselineAnswers | None:
        labels = classes(task, self._classes)
        wanted = numbers(task) if labels is None else None
        if labels is None and wanted is None:
            return None
        matrix = Matrix.of(task)
        if matrix is None:
            return None
        if wanted is not None:
            predicted = _ridge().fit(matrix.train, wanted).predict(matrix.test)
            values = as_written(task, np.asarray(predicted).reshape(len(task.test), -1))
            return BaselineAnswers(f"{matrix.told} + ridge regression", values)
        assert labels is not None
        names = sorted(set(labels), key=str)
        places = {name: place for place, name in enumerate(names)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", library("exceptions").ConvergenceWarning)
            model = _classifier(len(names))
            model.fit(matrix.train, [places[label] for label in labels])
        found = [names[int(place)] for place in model.predict(matrix.test)]
        return BaselineAnswers(f"{matrix.told} + logistic regression", found)


def _ridge() -> Any:
    return library("linear_model").Ridge(alpha=1.0, solver="sparse_cg", max_iter=_PASSES, tol=1e-3)


def _classifier(count: int) -> Any:
    kinds = library("linear_model")
    if count < _MANY:
        return kinds.LogisticRegression(C=10.0, max_iter=200, tol=1e-3)
    return kinds.SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=20, tol=1e-3, random_state=0)
