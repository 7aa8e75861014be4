"""Metrics on boxes against hand-computed cases, torchvision, and the rules of merging."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_task_grounding.manifest import MANIFEST
from ofacore.plugin import Registry

REGISTRY = Registry.of(MANIFEST)
NAMES = REGISTRY.names("metric")
UNIT = [0, 0, 10, 10]
HALF = [0, 0, 5, 10]
FAR = [20, 20, 30, 30]


def metric(name, **options):
    return REGISTRY.load("metric", name)(options)


def score(name, predictions, references, rows=None, **options):
    judge = metric(name, **options)
    judge.update(predictions, references, rows or [{}] * len(predictions))
    return judge.compute()


def test_the_announced_options_are_all_options():
    for name in NAMES:
        assert isinstance(
            metric(name, **REGISTRY.component("metric", name).options).higher_is_better, bool
        )


@pytest.mark.parametrize(
    ("prediction", "reference", "threshold", "right"),
    [
        (UNIT, UNIT, 1.0, 1),
        (HALF, UNIT, 0.5, 1),
        (HALF, UNIT, 0.51, 0),
        (FAR, UNIT, 0.01, 0),
        (None, UNIT, 0.5, 0),
        (None, None, 0.5, 1),
        (UNIT, None, 0.5, 0),
        (UNIT, np.array(UNIT), 0.5, 1),
        ({"box": UNIT, "score": 0.2}, UNIT, 0.5, 1),
        ([10, 10, 0, 0], UNIT, 0.5, 0),
        (UNIT, [FAR, UNIT], 0.5, 1),
    ],
)
def test_a_box_is_right_if_it_overlaps_enough(prediction, reference, threshold, right):
    assert score("iou_accuracy", [prediction], [reference], threshold=threshold) == {
        "iou_accuracy": right
    }


def test_any_of_several_boxes_will_do():
    rows = [{"boxes": [FAR, HALF]}, {"boxes": [FAR]}]
    assert score("iou_accuracy", [UNIT, UNIT], [FAR, FAR], rows, any="boxes") == {
        "iou_accuracy": 0.5
    }
    found = score("iou_accuracy_any", [UNIT, UNIT], [row["boxes"] for row in rows])
    assert found == {"iou_accuracy_any": 0.5}
    with pytest.raises(ValueError, match="no column 'boxs' but boxes"):
        score("iou_accuracy", [UNIT], [FAR], rows[:1], any="boxs")


def test_numbers_of_boxes():
    found = score(
        "count_error",
        [[UNIT, HALF], None, [], [[0, 0, 1, 1], [2, 2, 3, 3]]],
        [[UNIT], [UNIT], [], UNIT],
    )
    assert found == {"count_error": (1 + 1 + 0 + 1) / 4}


def test_average_precision_by_hand():
    # 2 objects; found, wrong, found, in order of score: precision 1 up to recall .5 (51 of 101 points), then 2/3
    boxes = [
        {"box": UNIT, "score": 0.9},
        {"box": [50, 50, 60, 60], "score": 0.8},
        {"box": FAR, "score": 0.7},
    ]
    found = score("detection_map", [boxes], [[UNIT, FAR]])
    assert list(found) == ["map", "map_50", "map_75"]
    assert found["map_50"] == found["map"] == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-6)


def test_labels_must_agree():
    rows = [{"kinds": ["cat", "dog"], "predicted:kinds": ["cat", "cat"]}]
    assert score("detection_map", [[UNIT, FAR]], [[UNIT, FAR]], rows, labels="kinds")[
        "map"
    ] == pytest.approx(0.5)
    assert score("detection_map", [[UNIT, FAR]], [[UNIT, FAR]], rows)["map"] == pytest.approx(1.0)
    assert score("box_recall", [[UNIT, FAR]], [[UNIT, FAR]], rows, labels="kinds")[
        "box_recall"
    ] == pytest.approx(0.5)


def test_recall_by_hand():
    # 3 objects, one of them found with IoU .5
    predictions, references = [[HALF], None], [[UNIT, FAR], [UNIT]]
    assert score("box_recall", predictions, references)["box_recall"] == pytest.approx(1 / 3)
    assert score("box_recall", predictions, references, threshold=0.6)["box_recall"] == 0


def test_pictures_without_objects_give_no_number():
    assert all(math.isnan(v) for name in NAMES for v in metric(name).compute().values())
    assert math.isnan(score("detection_map", [[UNIT]], [[]])["map"])


CORNERS = st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(7, 12)] * 2).map(list)
SAMPLES = st.lists(
    st.tuples(st.lists(CORNERS, max_size=3), st.lists(CORNERS, max_size=3)), max_size=5
)


def fill(judge, samples):
    single = judge.name.startswith("iou") if hasattr(judge, "name") else False
    predictions = [(boxes[0] if boxes else None) if single else boxes for boxes, _ in samples]
    judge.update(predictions, [reference for _, reference in samples], [{}] * len(samples))


@pytest.mark.parametrize("name", NAMES)
@given(samples=SAMPLES, cut=st.integers(0, 5), reverse=st.booleans())
@settings(max_examples=15, deadline=None)
def test_parts_merged_in_any_order_equal_one_pass(name, samples, cut, reverse):
    whole, first, second = metric(name), metric(name), metric(name)
    for judge, part in ((whole, samples), (first, samples[:cut]), (second, samples[cut:])):
        fill(judge, part)
    merged, other = (second, first) if reverse else (first, second)
    merged.merge(other)
    assert merged.compute() == pytest.approx(whole.compute(), nan_ok=True)
    assert sorted(merged.items()) == sorted(whole.items()) and len(whole.items()) in (
        0,
        len(samples),
    )
    if whole.items():
        assert sum(whole.items()) / len(samples) == pytest.approx(
            next(iter(whole.compute().values()))
        )


@given(box=CORNERS, others=st.lists(CORNERS, min_size=1, max_size=4), threshold=st.floats(0.05, 1))
@settings(max_examples=30, deadline=None)
def test_iou_is_that_of_torchmetrics(box, others, threshold):
    import torch
    from torchmetrics.functional.detection import intersection_over_union

    ious = intersection_over_union(
        torch.tensor([box]).double(), torch.tensor(others).double(), aggregate=False
    )
    expected = float(ious.max() >= threshold)
    assert score("iou_accuracy", [box], [others], threshold=threshold)["iou_accuracy"] == expected


@pytest.mark.parametrize("name", NAMES)
def test_bad_values_are_refused_by_name(name):
    with pytest.raises(ValueError, match=f"{name}: 1 predictions, 2 references, 1 rows"):
        metric(name).update([UNIT], [UNIT, UNIT], [{}])
    for bad in ([1, 2, 3], "a,b,c,d", [0, 0, math.nan, 1]):
        with pytest.raises(ValueError, match=f"{name}, sample 0"):
            metric(name).update([bad], [UNIT], [{}])


def test_bad_options_and_missing_labels_are_refused():
    with pytest.raises(ValueError, match="threshold is 50"):
        metric("iou_accuracy", threshold=50)
    with pytest.raises(ValueError, match="no labels in 'predicted:kinds'"):
        score("detection_map", [[UNIT]], [[UNIT]], [{"kinds": ["cat"]}], labels="kinds")
    with pytest.raises(ValueError, match="1 boxes but 2 labels"):
        rows = [{"kinds": ["cat", "dog"], "predicted:kinds": ["cat"]}]
        score("detection_map", [[UNIT]], [[UNIT]], rows, labels="kinds")


def test_metrics_import_torch_at_first_use():
    modules = ", ".join(
        f"ofa_task_grounding.metrics.{name}" for name in ("overlap", "counts", "detection")
    )
    code = f"import sys, {modules}; print(sorted({{'torch', 'torchmetrics', 'torchvision'}} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_all_objects_of_a_crowded_picture_can_be_found():
    crowd = [[i * 10, 0, i * 10 + 9, 9] for i in range(150)]
    assert score("box_recall", [crowd], [crowd]) == {"box_recall": 1.0}
    assert score("box_recall", [crowd[:75]], [crowd])["box_recall"] == pytest.approx(0.5)


def test_labels_as_text_of_json_are_refused_with_a_way_out():
    judge = metric("detection_map", labels="kind")
    boxes = [[0, 0, 1, 1], [2, 2, 3, 3]]
    row = {"predicted:kind": ["cat", "dog"], "kind": '["cat", "dog"]'}
    with pytest.raises(
        ValueError, match="2 boxes but 1 labels in 'kind'; the transform 'from_json'"
    ):
        judge.update([boxes], [boxes], [row])
