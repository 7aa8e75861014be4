"""Transforms of columns that this family announces."""

from __future__ import annotations

from ofa_task_grounding.transforms import TRANSFORMS, detection_boxes, detection_names
from ofacore.plugin import Registry


def test_they_are_found_by_name():
    functions = {
        component.name: Registry.discover().load("transform", component.name)
        for component in TRANSFORMS
    }
    assert functions == {"detection_boxes": detection_boxes, "detection_names": detection_names}


def test_detection_labels_keep_commas_in_names():
    label = "1,2,3,4,7,cat&&5,6,7,8.5,9,car, big"
    assert detection_boxes(label) == [[1, 2, 3, 4], [5, 6, 7, 8.5]]
    assert detection_names(label) == ["cat", "car, big"]
