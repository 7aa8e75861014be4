"""The metrics that this package announces."""

from __future__ import annotations

from ofacore.plugin import Component

_PACKAGE = "ofa_task_grounding.metrics"


def _metric(name: str, target: str, doc: str, **options: object) -> Component:
    return Component("metric", name, f"{_PACKAGE}.{target}", doc, options=options)


METRICS: tuple[Component, ...] = (
    _metric("iou_accuracy", "overlap:IouAccuracy", "share of boxes that overlap the reference", threshold=0.5, any=""),
    _metric("iou_accuracy_any", "overlap:IouAccuracyAny", "share that overlap any reference", threshold=0.5, any=""),
    _metric("count_error", "counts:CountError", "mean difference of the numbers of boxes"),
    _metric("detection_map", "detection:DetectionMap", "mean average precision of COCO (torchmetrics)", labels=""),
    _metric("box_recall", "detection:BoxRecall", "share of objects found (torchmetrics)", threshold=0.5, labels=""),
)
