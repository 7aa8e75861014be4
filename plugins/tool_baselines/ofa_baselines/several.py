"""Several labels of a row, as a repeat learns them: each label is a yes or no of its own."""

from __future__ import annotations

import warnings
from typing import Any

from ofa_baselines.library import library
from ofa_baselines.matrix import Matrix
from ofa_baselines.targets import is_labels
from ofacore.protocols import BaselineAnswers, BaselineTask, Options


class Several:
    """Option ``classes``: most different labels."""

    def __init__(self, options: Options) -> None:
        self._classes = int(options["classes"])

    def __call__(self, task: BaselineTask) -> BaselineAnswers | None:
        if not all(is_labels(value) for value in task.targets):
            return None
        kinds = library("preprocessing").MultiLabelBinarizer()
        marks = kinds.fit_transform(task.targets)
        if not 1 < len(kinds.classes_) <= self._classes:
            return None
        matrix = Matrix.of(task)
        if matrix is None:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of labels that every training row has
            model = library("multiclass").OneVsRestClassifier(_classifier())
            found = model.fit(matrix.train, marks).predict(matrix.test)
        values = [list(labels) for labels in kinds.inverse_transform(found)]
        return BaselineAnswers(f"{matrix.told} + logistic regression of each label", values)


def _classifier() -> Any:
    kind = library("linear_model").SGDClassifier
    return kind(loss="log_loss", alpha=1e-5, max_iter=20, tol=1e-3, random_state=0)
