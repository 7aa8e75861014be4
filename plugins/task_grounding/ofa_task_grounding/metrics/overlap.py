"""Accuracy of single boxes by their overlap with the reference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from ofa_task_grounding.metrics.boxes import Box, as_box, as_boxes, check_lengths, threshold_of
from ofacore.protocols import Options


class IouAccuracy:
    """``iou_accuracy``: share of predicted boxes whose IoU with the reference is at least ``threshold``.

    Of several references the best counts; option ``any`` names a column of the row that holds them, in place of the
    reference. No box is wrong, unless "none" is the reference.
    """

    name: ClassVar[str] = "iou_accuracy"
    higher_is_better: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self._threshold = threshold_of(options, self.name)
        self.reference_column = str(options.get("any") or "")
        self._items: list[float] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add boxes with their references.

        Raises:
            ValueError: Lists of unequal length, a value that is no box, or a row without the column of ``any``.
        """
        check_lengths(self.name, predictions, references, rows)
        for number, (prediction, reference, row) in enumerate(
            zip(predictions, references, rows, strict=True)
        ):
            place = f"{self.name}, sample {number}"
            if self.reference_column:
                if self.reference_column not in row:
                    raise ValueError(
                        f"{place}: the row has no column '{self.reference_column}' but {', '.join(row)}"
                    )
                reference = row[self.reference_column]
            expected = [box for box, _ in as_boxes(reference, place)]
            self._items.append(float(self._right(as_box(prediction, place), expected)))

    def compute(self) -> dict[str, float]:
        """The share under the metric's name; nan where nothing was added."""
        return {self.name: math.fsum(self._items) / len(self._items) if self._items else math.nan}

    def merge(self, other: Self) -> None:
        """Add what another instance has seen."""
        self._items += other._items

    def items(self) -> Sequence[float]:
        """1 for each right box, else 0."""
        return self._items

    def _right(self, box: Box | None, expected: Sequence[Box]) -> bool:
        if box is None or not expected:
            return box is None and not expected
        return best_iou(box, expected) >= self._threshold


class IouAccuracyAny(IouAccuracy):
    """``iou_accuracy_any``: as ``iou_accuracy``, where the references are boxes of which any will do."""

    name = "iou_accuracy_any"


def best_iou(box: Box, others: Sequence[Box]) -> float:
    """The highest intersection over union with one of ``others``; 0 where areas are empty."""
    import torch
    from torchvision.ops import box_iou

    ours = torch.tensor([_upright(box)], dtype=torch.float64)
    theirs = torch.tensor([_upright(other) for other in others], dtype=torch.float64)
    ious = box_iou(ours, theirs)
    return float(ious.nan_to_num(0.0).max())


def _upright(box: Box) -> Box:
    """A box whose corners are the wrong way round is empty."""
    x0, y0, x1, y1 = box
    return x0, y0, max(x0, x1), max(y0, y1)
