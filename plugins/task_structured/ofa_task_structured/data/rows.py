"""Wines and tumours of scikit-learn, each a row of measured numbers, rows ``row, class``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ofa_starter import Row, Splits, empty_splits, majority, prepared, split_of

DIGITS = 2
"""Significant digits of a number: few different ones, so that each is seen often."""
CLASSES = {
    "wine": ("first winery", "second winery", "third winery"),
    "tumour": ("malignant", "benign"),
}
TUMOUR_COLUMNS = 10
"""The means; their errors and largest values are left out, to keep rows short."""


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``row`` (column name -> number of two digits) and ``class``; ``seed`` has no effect."""
    return prepared("row_classification", _rows, cache=cache)


def baseline(splits: Splits) -> list[Row]:
    """The most frequent class."""
    return majority(splits, "class")


def _rows() -> Splits:
    splits = empty_splits()
    for kind, names, numbers, label in _measured():
        for index, (values, target) in enumerate(zip(numbers, label, strict=True)):
            pairs = zip(names, values, strict=True)
            row = {name: _rounded(value) for name, value in pairs}
            split = split_of(f"{kind}/{index}")
            splits[split].append({"row": row, "class": CLASSES[kind][target]})
    return splits


def _measured() -> Iterator[tuple[str, list[str], list[list[float]], list[int]]]:
    """Kind, names of the columns, numbers [rows, columns], numbers of the classes."""
    from sklearn.datasets import load_breast_cancer, load_wine

    wine, tumour = load_wine(), load_breast_cancer()
    names = [name.replace("_", " ") for name in wine.feature_names]
    yield "wine", names, wine.data.tolist(), wine.target.tolist()
    names = [name.removeprefix("mean ") for name in tumour.feature_names[:TUMOUR_COLUMNS]]
    yield "tumour", names, tumour.data[:, :TUMOUR_COLUMNS].tolist(), tumour.target.tolist()


def _rounded(value: float) -> float | int:
    """Two digits; a whole number without a point."""
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded
