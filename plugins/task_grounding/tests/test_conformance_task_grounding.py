"""The conformance kit on this plugin."""

from ofa_kit import MetricConformance, TaskConformance

PLUGIN = "ofa_task_grounding.manifest:MANIFEST"
BOXES = [
    [2.0, 3.0, 20.0, 24.0],
    [10.0, 5.0, 40.0, 30.0],
    [0.0, 0.0, 9.0, 9.0],
    [5.0, 5.0, 15.0, 25.0],
]


class TestGroundingTasks(TaskConformance):
    plugin = PLUGIN


class TestIouAccuracy(MetricConformance):
    plugin = PLUGIN
    metric = "iou_accuracy"
    references = BOXES
    predictions = [BOXES[0], BOXES[2], BOXES[2], [5.0, 5.0, 14.0, 25.0]]
    bounds = (0.0, 1.0)


class _Pictures(MetricConformance):
    plugin = PLUGIN
    references = [[box] for box in BOXES]
    predictions = [[BOXES[0]], [BOXES[2], BOXES[1]], [], [[5.0, 5.0, 14.0, 25.0]]]


class TestCountError(_Pictures):
    metric = "count_error"


class TestDetectionMap(_Pictures):
    metric = "detection_map"
    bounds = (0.0, 1.0)


class TestBoxRecall(_Pictures):
    metric = "box_recall"
    bounds = (0.0, 1.0)
