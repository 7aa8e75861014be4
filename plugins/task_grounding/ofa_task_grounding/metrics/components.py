"""The metrics that this package announces."""

from __future__ import annotations

from ofacore.plugin import Component, Option

_PACKAGE = "ofa_task_grounding.metrics"
_THRESHOLD = Option(
    0.5, "Least overlap (intersection over union) that is right.", minimum=1e-3, maximum=1
)
_ANY = Option("", "Column with a list of right boxes, in place of the reference.")
_LABELS = Option("", "Column with one label for each box; empty: all boxes are alike.")


def _metric(name: str, target: str, doc: str, **options: Option) -> Component:
    return Component("metric", name, f"{_PACKAGE}.{target}", doc, options=options)


METRICS: tuple[Component, ...] = (
    _metric(
        "iou_accuracy",
        "overlap:IouAccuracy",
        "share of boxes that overlap the reference",
        threshold=_THRESHOLD,
        any=_ANY,
    ),
    _metric(
        "iou_accuracy_any",
        "overlap:IouAccuracyAny",
        "share that overlap any reference",
        threshold=_THRESHOLD,
        any=_ANY,
    ),
    _metric("count_error", "counts:CountError", "mean difference of the numbers of boxes"),
    _metric(
        "detection_map",
        "detection:DetectionMap",
        "mean average precision of COCO (torchmetrics)",
        labels=_LABELS,
    ),
    _metric(
        "box_recall",
        "detection:BoxRecall",
        "share of objects found (torchmetrics)",
        threshold=_THRESHOLD,
        labels=_LABELS,
    ),
)
