"""Inputs of a task as a matrix: tf-idf of texts, numbers scaled, arrays as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sparse

from ofa_baselines.library import library
from ofacore.protocols import BaselineTask

_WORDS, _LETTERS = 20_000, 20_000
"""Most features of words, and of runs of characters."""
_WIDE, _KEPT = 64, 256
"""Dense features from which texts beside them are reduced to so many, as products of both would be slow."""
Inputs = Sequence[Mapping[str, Any]]


@dataclass
class Matrix:
    """Columns of inputs, fitted on the training rows."""

    task: BaselineTask
    names: list[str] = field(default_factory=list)
    """What the features are, in words: ``tf-idf``, ``columns``, ``image``."""
    train: Any = None
    """Sparse or dense [rows, features]."""
    test: Any = None
    numeric: bool = False
    """Columns of numbers alone."""

    @classmethod
    def of(cls, task: BaselineTask) -> Matrix | None:
        """The matrix of all inputs; None where there are none."""
        found = cls(task)
        parts = [part for name in _columns(task) if (part := found._part(name)) is not None]
        if not parts:
            return None
        if sum(part[0].shape[1] for part in parts if not sparse.issparse(part[0])) > _WIDE:
            parts = [reduced(*part) for part in parts]
        found.train = _joined([train for train, _ in parts])
        found.test = _joined([test for _, test in parts])
        found.numeric = found.names == ["columns"]
        return found

    @property
    def told(self) -> str:
        """The features in words: ``tf-idf + columns``."""
        return " + ".join(self.names)

    def _part(self, column: str) -> tuple[Any, Any] | None:
        train = [row.get(column) for row in self.task.train]
        test = [row.get(column) for row in self.task.test]
        known = [value for value in train if value is not None]
        if not known:
            return None
        if isinstance(known[0], np.ndarray):
            self._say(self.task.types.get(column, column).lower())
            empty = np.zeros_like(known[0])
            return _scaled(_stacked(train, empty), _stacked(test, empty))
        numbers = _numbers(train)
        if numbers is not None:
            self._say("columns")
            middle = float(np.nanmedian(numbers))
            later = [_number(value) for value in test]
            filled = [middle if value is None else value for value in later]
            first = np.where(np.isnan(numbers), middle, numbers)
            return _scaled(first[:, None], np.array(filled, np.float64)[:, None])
        self._say("tf-idf")
        return _texts([_text(value) for value in train], [_text(value) for value in test])

    def _say(self, name: str) -> None:
        if name not in self.names:
            self.names.append(name)


def _columns(task: BaselineTask) -> list[str]:
    return list(dict.fromkeys(name for row in task.train for name in row))


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if np.isfinite(found) else None


def _numbers(values: Sequence[Any]) -> np.ndarray | None:
    """float64 [rows], NaN where there is none; None where one is no number, or all are empty."""
    found = [_number(value) for value in values]
    wrong = any(n is None and str(v or "").strip() for n, v in zip(found, values, strict=True))
    if wrong or all(number is None for number in found):
        return None
    return np.array([np.nan if number is None else number for number in found], np.float64)


def _scaled(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scaler = library("preprocessing").StandardScaler().fit(train)
    return scaler.transform(train), scaler.transform(test)


def _texts(train: Sequence[str], test: Sequence[str]) -> tuple[Any, Any]:
    vectorizer = library("feature_extraction.text").TfidfVectorizer
    kinds = [
        vectorizer(
            token_pattern=r"(?u)\b\w+\b", ngram_range=(1, 2), max_features=_WORDS, sublinear_tf=True
        ),
        vectorizer(
            analyzer="char_wb", ngram_range=(1, 4), max_features=_LETTERS, sublinear_tf=True
        ),
    ]
    parts = []
    for kind in kinds:
        try:
            parts.append((kind.fit_transform(train), kind.transform(test)))
        except ValueError:  # no word in any text
            continue
    if not parts:
        return np.zeros((len(train), 1)), np.zeros((len(test), 1))
    return _joined([part[0] for part in parts]), _joined([part[1] for part in parts])


def reduced(train: Any, test: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sparse features as their strongest components; dense ones as they are."""
    if not sparse.issparse(train):
        return train, test
    most = min(_KEPT, min(train.shape) - 1)
    if most < 1:
        return train.toarray(), test.toarray()
    model = library("decomposition").TruncatedSVD(most, random_state=0)
    return model.fit_transform(train), model.transform(test)


def _stacked(values: Sequence[Any], empty: np.ndarray) -> np.ndarray:
    return np.stack([empty if value is None else value for value in values])


def _joined(parts: Sequence[Any]) -> Any:
    if len(parts) == 1:
        return parts[0]
    if any(sparse.issparse(part) for part in parts):
        return sparse.hstack([sparse.csr_matrix(part) for part in parts], format="csr")
    return np.hstack(parts)
