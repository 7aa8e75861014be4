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


def calibration(predictions: Sequence[Prediction], slot: str) -> Calibration | None:
    """Of the rows that have a reference and a confidence; None without any."""
    rows = [one for one in predictions if slot in one.confidences and slot in one.references]
    if not rows:
        return None
    right = np.array([reference == answer for reference, answer in pairs(rows, slot)], float)
    sure = np.array([one.confidences[slot] for one in rows])
    places = np.minimum((sure * BINS).astype(int), BINS - 1)
    bins = tuple(
        Bin(float(sure[places == b].mean()), float(right[places == b].mean()), int(count))
        for b, count in enumerate(np.bincount(places, minlength=BINS))
        if count
    )
    error = sum(abs(each.confidence - each.right) * each.count for each in bins) / len(rows)
    return Calibration(bins, error)
