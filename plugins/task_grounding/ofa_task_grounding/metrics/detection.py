"""Metrics of object detection, by torchmetrics over pycocotools."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ofa_task_grounding.metrics.boxes import Box, as_boxes, check_lengths, threshold_of
from ofacore.protocols import Options

if TYPE_CHECKING:
    from torch import Tensor

PREDICTED = "predicted:"
"""In the rows that a metric is given, ``predicted:<slot>`` is what the model produced for another target slot."""
_MOST = 100


@dataclass(frozen=True, order=True)
class _Image:
    """Boxes of one picture, with labels ("" without) and, for the predicted ones, scores."""

    predicted: tuple[tuple[float, str, Box], ...]
    real: tuple[tuple[str, Box], ...]


class _Detection:
    """Collects pictures. Option ``labels`` names the column with one label for each box; without, all are alike."""

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self._labels = str(options.get("labels") or "")
        self._images: list[_Image] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add the boxes of pictures; a box may carry a ``score``.

        With ``labels``, a row holds the real labels in that column and the predicted ones under ``predicted:<column>``.

        Raises:
            ValueError: Lists of unequal length, a value that is no list of boxes, or labels that are missing.
        """
        check_lengths(self.name, predictions, references, rows)
        for number, (prediction, reference, row) in enumerate(
            zip(predictions, references, rows, strict=True)
        ):
            place = f"{self.name}, sample {number}"
            ours, theirs = as_boxes(prediction, place), as_boxes(reference, place)
            our_labels, their_labels = (
                self._labels_of(row, PREDICTED, ours, place),
                self._labels_of(row, "", theirs, place),
            )
            if len(their_labels) != len(theirs):
                given = row.get(self._labels)
                way_out = (
                    "; the transform 'from_json' reads a list in text"
                    if isinstance(given, str)
                    else ""
                )
                found = f"{len(their_labels)} labels in '{self._labels}'"
                raise ValueError(f"{place}: {len(theirs)} boxes but {found}{way_out}")
            predicted = [
                (score, label, box) for (box, score), label in zip(ours, our_labels, strict=False)
            ]
            real = [(label, box) for (box, _), label in zip(theirs, their_labels, strict=True)]
            self._images.append(_Image(tuple(predicted), tuple(real)))

    def merge(self, other: Self) -> None:
        """Add what another instance has seen."""
        self._images += other._images

    def items(self) -> Sequence[float]:
        """Empty: the value is no mean over samples."""
        return ()

    def _labels_of(
        self, row: Mapping[str, Any], prefix: str, boxes: Sequence[Any], place: str
    ) -> list[str]:
        if not self._labels:
            return [""] * len(boxes)
        column = prefix + self._labels
        if column not in row:
            raise ValueError(
                f"{place}: the row has no labels in '{column}' but only {', '.join(row)}"
            )
        labels = row[column]
        if labels is None:
            return []
        return [str(label) for label in (labels if isinstance(labels, list | tuple) else [labels])]

    def _measured(self, most: int, **options: Any) -> dict[str, float]:
        """What torchmetrics computes, pictures in a fixed order; nan where there is nothing to measure."""
        from torchmetrics.detection import MeanAveragePrecision

        metric = MeanAveragePrecision(
            box_format="xyxy", max_detection_thresholds=[1, 10, most], **options
        )
        metric.warn_on_many_detections = False
        names = {
            label for image in self._images for *_, label, _ in (*image.predicted, *image.real)
        }
        numbers = {label: number for number, label in enumerate(sorted(names))}
        images = sorted(self._images)
        predicted = []
        for image in images:
            entries = [(*entry, score) for score, *entry in image.predicted]
            predicted.append(_tensors(entries, numbers, True))
        real = [_tensors(image.real, numbers, False) for image in images]
        metric.update(predicted, real)
        values = {
            name: float(value) for name, value in metric.compute().items() if value.numel() == 1
        }
        return {name: math.nan if value < 0 else value for name, value in values.items()}


class DetectionMap(_Detection):
    """``map``, ``map_50``, ``map_75``: mean average precision over labels, as COCO defines it.

    The first averages over IoU thresholds 0.5 to 0.95. At most 100 boxes of a picture count. Equal scores keep the
    order of the boxes.
    """

    name = "detection_map"

    def compute(self) -> dict[str, float]:
        """The three values; nan where no picture has an object."""
        values = self._measured(_MOST) if any(image.real for image in self._images) else {}
        return {name: values.get(name, math.nan) for name in ("map", "map_50", "map_75")}


class BoxRecall(_Detection):
    """``box_recall``: share of real objects matched by a box with an IoU of ``threshold``, averaged over labels.

    Of a picture as many boxes count as the fullest one has objects, at least 100.
    """

    name = "box_recall"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._threshold = threshold_of(options, self.name)

    def compute(self) -> dict[str, float]:
        """``box_recall``; nan where no picture has an object."""
        if not any(image.real for image in self._images):
            return {self.name: math.nan}
        most = max(_MOST, *(len(image.real) for image in self._images))
        return {self.name: self._measured(most, iou_thresholds=[self._threshold])[f"mar_{most}"]}


def _tensors(boxes: Sequence[Any], numbers: Mapping[str, int], scored: bool) -> dict[str, Tensor]:
    """Entries (label, box) or (label, box, score) as torchmetrics takes them."""
    import torch

    found = {
        "boxes": torch.tensor([entry[1] for entry in boxes]).reshape(-1, 4),
        "labels": torch.tensor([numbers[entry[0]] for entry in boxes], dtype=torch.int64),
    }
    return {**found, "scores": torch.tensor([entry[2] for entry in boxes])} if scored else found
