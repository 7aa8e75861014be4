"""Patients of scikit-learn's diabetes data, rows ``row, value``: how far the disease has gone after a year."""

from __future__ import annotations

from pathlib import Path

from ofa_starter import Row, Splits, empty_splits, prepared, split_of

NAMES = {
    "age": "age",
    "sex": "sex",
    "bmi": "body mass index",
    "bp": "blood pressure",
    "s1": "cholesterol",
    "s2": "low density",
    "s3": "high density",
    "s4": "ratio",
    "s5": "triglycerides",
    "s6": "sugar",
}


def build(cache: Path | None = None, seed: int = 0) -> Splits:
    """Rows ``row`` (column name -> number) and ``value`` (25 to 346); ``seed`` has no effect."""
    return prepared("row_regression", _rows, cache=cache)


def baseline(splits: Splits) -> list[Row]:
    """The mean of the training rows."""
    values = [row["value"] for row in splits["train"]]
    mean = round(sum(values) / len(values))
    return [{"value": mean} for _ in splits["test"]]


def _rows() -> Splits:
    from sklearn.datasets import load_diabetes

    splits = empty_splits()
    found = load_diabetes(scaled=False)
    names = [NAMES[name] for name in found.feature_names]
    for index, (numbers, value) in enumerate(zip(found.data, found.target, strict=True)):
        row = {name: round(float(number), 1) for name, number in zip(names, numbers, strict=True)}
        splits[split_of(f"diabetes/{index}")].append({"row": row, "value": int(value)})
    return splits
