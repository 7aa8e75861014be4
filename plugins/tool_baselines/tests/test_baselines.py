"""Quick methods: where each applies, what it answers, and how the best one comes to stand beside a score."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from ofacore import Generalist, Task
from ofacore.evaluation.baselines import compared
from ofacore.plugin import Registry
from ofacore.protocols import BaselineTask

KINDS = {"animal": ["cat", "dog", "cow"], "colour": ["red", "green", "blue"]}
WORDS = [
    {"word": f"{word} {number}", "kind": kind}
    for kind, words in KINDS.items()
    for word in words
    for number in range(8)
]
RNG = np.random.default_rng(0)


def answered(name: str, task: BaselineTask) -> Any:
    return Registry.discover().make("baseline", name)(task)


def table(targets: list[Any], closed: bool = False) -> BaselineTask:
    rows = [{"x": str(n), "y": float(n % 7)} for n in range(len(targets))]
    return BaselineTask(rows, targets, rows[:5], {"x": "TEXT", "y": "TEXT"}, closed)


def test_columns_of_numbers_go_into_a_forest_and_a_line() -> None:
    task = table([3.0 * n for n in range(60)])
    line, forest = answered("linear", task), answered("forest", task)
    assert line.name == "columns + ridge regression" and forest.name == "columns + random forest"
    assert line.values == pytest.approx([0, 3, 6, 9, 12], abs=4)
    assert forest.values == pytest.approx([0, 3, 6, 9, 12], abs=4)
    assert answered("common", task).values[0] == pytest.approx(88.5)
    task = table(["low" if n < 30 else "high" for n in range(60)], closed=True)
    assert set(answered("forest", task).values) == {"low"}
    assert set(answered("common", table(["a", "b", "b"])).values) == {"b"}


def test_boxes_have_a_mean_and_arrays_a_neighbour() -> None:
    boxes = [[n, n, n + 10, n + 10] for n in range(40)]
    assert answered("common", table(boxes)).values[0] == [19.5, 19.5, 29.5, 29.5]
    assert answered("linear", table(boxes)).values[4] == pytest.approx(boxes[4], abs=3)
    clips = [np.full((2, 2), n) for n in range(40)]
    assert answered("common", table(clips)) is None and answered("linear", table(clips)) is None
    assert answered("nearest", table(clips)).values[3].tolist() == clips[3].tolist()


def test_texts_beside_wide_arrays_become_dense() -> None:
    rows = [
        {"t": f"the {WORDS[n]['word']}", "v": RNG.normal(size=100).astype(np.float32)}
        for n in range(48)
    ]
    kinds = [row["kind"] for row in WORDS]
    task = BaselineTask(rows, kinds, [*rows[:3], {}], {"t": "TEXT", "v": "IMAGE"}, True)
    found = answered("linear", task)
    assert found.name == "tf-idf + image + logistic regression" and found.values[:3] == kinds[:3]
    assert answered("nearest", task).values[:3] == kinds[:3]


def test_a_text_without_words_is_no_failure() -> None:
    rows = [{"t": "??"}] * 30
    task = BaselineTask(rows, ["a", "b"] * 15, [{}, {"t": ""}], {"t": "TEXT"}, True)
    assert len(answered("linear", task).values) == 2 and len(answered("nearest", task).values) == 2


@pytest.fixture(scope="module")
def model() -> Generalist:
    """Three tasks that are not trained: of words, of pictures, of records."""
    pictures = []
    for number in range(40):
        colour = ("red", "blue")[number % 2]
        image = Image.new("RGB", (40, 40), colour)
        image.putpixel((number % 40, 3), (number, 9, 9))
        pictures.append({"img": image, "kind": colour})
    records = [
        {"row": {"size": n, "place": "here"}, "kind": "big" if n > 30 else "small"}
        for n in range(60)
    ]

    def task(name: str, instruction: str, rows: list[dict[str, Any]]) -> Task:
        use = [{"metric": "accuracy", "slot": "kind"}]
        order = [rows[int(place)] for place in RNG.permutation(len(rows))]
        return Task(name, instruction, train=order[:-10], test=order[-10:], metrics=use)

    tasks = [
        task("word", "what is [TEXT:word]? -> [TEXT:kind,closed_set]", WORDS),
        task("picture", "[IMAGE:img,size=32] -> [TEXT:kind,closed_set]", pictures),
        task("record", "[STRUCT:row] how big? -> [TEXT:kind,closed_set]", records),
    ]
    sizes = {"hidden": 32, "ffn": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    return Generalist.create(tasks, **sizes)


def test_every_kind_of_input_becomes_features(model: Generalist) -> None:
    found = {
        name: compared(model.assembly, model.assembly.plans[name], model.data[name])
        for name in model.tasks
    }
    names = {name: {one.doc for one in several} for name, several in found.items()}
    assert "tf-idf + logistic regression" in names["word"]
    assert "image + logistic regression" in names["picture"]
    assert any("columns" in doc for doc in names["record"])
    for several in found.values():
        assert several[0].score == 1.0 and "majority" in {one.doc for one in several}
        assert several == sorted(several, key=lambda one: -one.score)


def test_the_best_stands_beside_the_score(model: Generalist) -> None:
    (row,) = model.evaluate("word")
    assert row.baseline == 1.0 and "tf-idf" in row.baseline_doc
    (row,) = model.evaluate("word", baseline=False)
    assert row.baseline is None
