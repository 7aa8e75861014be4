"""Whether a model is right as often as it is sure (Guo et al., 2017: On Calibration of Modern Neural Networks)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ofa_report.classes import pairs
from ofacore.evaluation.predictions import Prediction

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Rows whose confidence lies between two limits."""

    confidence: float
    """Mean of them."""
    right: float
    """Share that is right."""
    count: int


@dataclass(frozen=True)
class Calibration:
    """Bins from unsure to sure, those that are empty left out."""

    bins: tuple[Bin, ...]
    error: float
    """Expected calibration error: mean distance of confidence and share, weighted by rows."""


def calibrated_slots(predictions: Sequence[Prediction]) -> list[str]:
    """Target slots with confidences whose answers are right or wrong: from a closed set, or texts."""
    names = dict.fromkeys(name for one in predictions for name in one.confidences)
    return [name for name in names if _are_right_or_wrong(predictions, name)]


def _are_right_or_wrong(predictions: Sequence[Prediction], slot: str) -> bool:
    return all(_is_right_or_wrong(one, slot) for one in predictions)


def _is_right_or_wrong(one: Prediction, slot: str) -> bool:
    return slot in one.closed or isinstance(one.values.get(slot, ""), str)


def calibration(predictions: Sequence[Prediction], slot: str) -> Calibration | None:
    """Of the rows that have a reference and a confidence; None without any, and of open values that are never right."""
    has = (
        one.confidences.keys() & one.references.keys() & one.values.keys() for one in predictions
    )
    rows = [one for one, names in zip(predictions, has, strict=True) if slot in names]
    if not rows:
        return None
    right = np.array([reference == answer for reference, answer in pairs(rows, slot)], float)
    if not right.any() and not any(slot in one.closed for one in rows):
        return None
    sure = np.array([one.confidences[slot] for one in rows])
    places = np.minimum((sure * BINS).astype(int), BINS - 1)
    bins = tuple(
        Bin(float(sure[places == b].mean()), float(right[places == b].mean()), int(count))
        for b, count in enumerate(np.bincount(places, minlength=BINS))
        if count
    )
    error = sum(abs(each.confidence - each.right) * each.count for each in bins) / len(rows)
    return Calibration(bins, error)
