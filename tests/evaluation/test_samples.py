"""Samples of a report show answers and references of every kind of value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from ofacore import Generalist, Task
from ofacore.evaluation.report import Sample
from ofacore.evaluation.runner import evaluate_tasks
from ofacore.evaluation.samples import plain_samples
from ofacore.plugin import Registry

SMALL: dict[str, Any] = {
    "preset": "tiny",
    "hidden": 32,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
ROWS = [
    {
        "img": Image.new("RGB", (40, 30), colour),
        "box": [2, 3, 20, 21],
        "boxes": [[2, 3, 20, 21], [5, 5, 9, 9]],
        "t": t,
    }
    for colour, t in (("red", "a b"), ("blue", "c"), ("green", "a"))
]


def samples(instruction: str, rows: list[dict[str, Any]], metric: str, slot: str) -> list[Sample]:
    task = Task("t", instruction, train=rows, test=rows, metrics=[{"metric": metric, "slot": slot}])
    generalist = Generalist.create([task], registry=Registry.discover(), **SMALL)
    (evaluation,) = evaluate_tasks(generalist, ["t"], generation={"max_length": 6})
    assert not evaluation.problems
    return evaluation.samples


@pytest.mark.parametrize(
    ("instruction", "metric", "slot", "expected", "pictures"),
    [
        ("[IMAGE:img,size=32] where? -> [BOX:box]", "iou_accuracy", "box", "2, 3, 20, 21", 1),
        (
            "[IMAGE:img,size=32] where? -> ([BOX:boxes])*",
            "box_recall",
            "boxes",
            "2, 3, 20, 21; 5, 5, 9, 9",
            1,
        ),
        ("[IMAGE:img,size=32] what? -> [TEXT:t]", "exact_match", "t", "a b", 0),
    ],
)
def test_the_reference_is_shown_as_the_answer_is(
    instruction: str, metric: str, slot: str, expected: str, pictures: int
) -> None:
    found = samples(instruction, ROWS, metric, slot)[0]
    assert expected in found.reference
    assert found.reference.count("<img") == pictures
    assert found.inputs.count("<img") == 1


def test_each_picture_of_a_repeated_source_slot_is_shown() -> None:
    rows = [{"imgs": [np.zeros((8, 8, 3), np.uint8)] * number, "t": "a"} for number in (2, 3)]
    found = samples("([IMAGE:imgs,size=32])* what? -> [TEXT:t]", rows, "exact_match", "t")
    assert [sample.inputs.count("<img") for sample in found] == [2, 3]


def test_on_a_terminal_a_value_is_named_by_what_it_is() -> None:
    sound = '<b>wav</b> <audio controls src="data:x"></audio><img src="data:y" alt="spectrogram">'
    boxes = (
        '<figure><img src="data:z" alt="1, 2, 3, 4"><figcaption>1, 2, 3, 4</figcaption></figure>'
    )
    grid = "<b>g</b> <svg viewBox='0'><rect/></svg>"
    _, first, second = plain_samples([Sample("t", "[AUDIO:wav] ->", sound, boxes, grid)])
    assert first == "  in   wav (sound) (spectrogram)"
    assert second == "  out  1, 2, 3, 4   (reference: g (picture))"
