"""Quick methods: where each applies, what it answers, and how the best one comes to stand beside a score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ofacore import Generalist, Task
from ofacore.evaluation.allowance import Allowance, Deadline, fitted, told
from ofacore.evaluation.baselines import compared
from ofacore.plugin import Registry
from ofacore.protocols import BaselineAnswers, BaselineTask, ContrastTask

KINDS = {"animal": ["cat", "dog", "cow"], "colour": ["red", "green", "blue"]}
WORDS = [
    {"word": f"{word} {number}", "kind": kind}
    for kind, words in KINDS.items()
    for word in words
    for number in range(8)
]
SEVERAL = [{"word": row["word"], "kinds": [row["kind"], "word"]} for row in WORDS]
SAID = [{"word": row["word"], "said": f"he said {row['word']} aloud"} for row in WORDS]
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


def test_the_nearest_of_one_column_is_the_nearest_number() -> None:
    rows = [{"x": str(number)} for number in range(40)]
    task = BaselineTask(rows, [f"as {row['x']}" for row in rows], rows[3:30:9], {"x": "TEXT"})
    assert answered("nearest", task).values == ["as 3", "as 12", "as 21"]


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

    def task(
        name: str,
        instruction: str,
        rows: list[dict[str, Any]],
        metric: str = "accuracy",
        slot: str = "kind",
    ) -> Task:
        use = [{"metric": metric, "slot": slot}]
        order = [rows[int(place)] for place in RNG.permutation(len(rows))]
        return Task(name, instruction, train=order[:-10], test=order[-10:], metrics=use)

    tasks = [
        task("word", "what is [TEXT:word]? -> [TEXT:kind,closed_set]", WORDS),
        task("picture", "[IMAGE:img,size=32] -> [TEXT:kind,closed_set]", pictures),
        task("record", "[STRUCT:row] how big? -> [TEXT:kind,closed_set]", records),
        task("several", "[TEXT:word] has -> ([TEXT:kinds])*", SEVERAL, "multilabel_f1", "kinds"),
        task("pairs", "[TEXT:word|TEXT:said] ->", SAID, "recall", "word"),
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
    for name, several in found.items():
        assert several[0].score == 1.0 and (name == "pairs" or "majority" in names[name])
        assert several == sorted(several, key=lambda one: -one.score)


def test_the_best_stands_beside_the_score(model: Generalist) -> None:
    (row,) = model.evaluate("word")
    assert row.baseline == 1.0 and "tf-idf" in row.baseline_doc
    (row,) = model.evaluate("word", baseline=False)
    assert row.baseline is None


def test_several_labels_and_repeats_have_methods() -> None:
    rows = [{"t": f"{word} {n}"} for n, word in enumerate(["cat", "dog", "both"] * 20)]
    kinds = [
        ["animal", word] if word != "both" else ["cat", "dog"] for word in ("cat", "dog", "both")
    ] * 20
    task = BaselineTask(rows, kinds, rows[:3], {"t": "TEXT"})
    assert answered("common", task).values[2] == ["animal", "cat"]
    assert [sorted(labels) for labels in answered("several", task).values] == kinds[:3]
    assert answered("nearest", task).values == kinds[:3]
    assert answered("several", table(["a", "b"] * 20)) is None


def test_both_sides_of_a_contrast_are_embedded() -> None:
    words = [{"w": row["word"]} for row in WORDS]
    said = [{"s": row["said"]} for row in SAID]
    task = ContrastTask(words[:40], said[:40], words[40:], said[40:], {"w": "TEXT", "s": "TEXT"})
    found = answered("shared_words", task)
    products = np.asarray(found.left) @ np.asarray(found.right).T
    assert (products.argmax(axis=1) == np.arange(8)).mean() > 0.7
    pictures = [{"i": RNG.normal(size=30).astype(np.float32)} for _ in range(40)]
    task = ContrastTask(pictures, said[:40], pictures[:8], said[:8], {"i": "IMAGE", "s": "TEXT"})
    assert answered("shared_words", task) is None
    found = answered("neighbour_pairs", task)
    products = np.asarray(found.left) @ np.asarray(found.right).T
    assert (products.argmax(axis=1) == np.arange(8)).mean() > 0.7
    assert found.name == "image + nearest neighbours"


def test_they_stand_beside_scores_of_repeats_and_contrasts(model: Generalist) -> None:
    (several,), pairs = model.evaluate("several"), model.evaluate("pairs")
    assert several.baseline == 1.0 and several.beats_baseline is False
    assert pairs[0].baseline is not None and pairs[0].baseline > 0.5
    assert "tf-idf" in pairs[0].baseline_doc and pairs[1].baseline is None


def test_each_slot_has_the_best_method_of_its_own() -> None:
    order = [int(place) for place in RNG.permutation(len(WORDS))]
    rows = [{**WORDS[place], "size": 7 + place % 3} for place in order]
    uses = [{"metric": "accuracy", "slot": "kind"}, {"metric": "absolute_error", "slot": "size"}]
    instruction = "what is [TEXT:word]? -> [TEXT:kind,closed_set] of [TEXT:size]"
    task = Task("two", instruction, train=rows[:-10], test=rows[-10:], metrics=uses)
    sizes = {"hidden": 32, "ffn": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    two = Generalist.create([task], **sizes)
    kind, size = two.evaluate("two")
    assert kind.baseline == 1.0 and "tf-idf" in kind.baseline_doc
    assert size.baseline is not None and size.baseline < 1.5  # as an empty answer it would be 8
    found = compared(two.assembly, two.assembly.plans["two"], two.data["two"])
    assert {one.metric for one in found} == {"accuracy", "absolute_error"}


class Slow:
    """A method that takes a second for every ten rows."""

    def __init__(self) -> None:
        self.now, self.seen = 0.0, list[int]()

    def __call__(self, task: BaselineTask) -> BaselineAnswers:
        self.now += len(task) / 10
        self.seen.append(len(task))
        return BaselineAnswers("slow", [0] * len(task.test))


@pytest.mark.parametrize(
    ("seconds", "seen"), [(None, [800]), (200.0, [50, 200, 800]), (60.0, [50, 200, 350])]
)
def test_a_method_learns_from_the_rows_that_there_is_time_for(
    seconds: float | None, seen: list[int]
) -> None:
    slow = Slow()
    found, rows = fitted(slow, table([0] * 800), Deadline(seconds, lambda: slow.now))
    assert slow.seen == seen and rows == seen[-1] and found is not None
    assert told("slow", rows, 800) == ("slow" if rows == 800 else "slow, 350 rows")


def test_a_few_rows_more_are_learned_from_where_there_is_time() -> None:
    slow = Slow()
    _, rows = fitted(slow, table([0] * 101), Deadline(100.0, lambda: slow.now))
    assert slow.seen == [20, 80, 101] and rows == 101


def test_time_that_one_task_leaves_is_for_the_others() -> None:
    slow = Slow()
    allowance = Allowance(30.0, 3, lambda: slow.now)
    ends = []
    for seconds in (2.0, 14.0, 10.0):
        with allowance.of_task() as deadline:
            assert deadline.until is not None
            ends.append(deadline.until - slow.now)
            slow.now += seconds
    assert ends == [10.0, 14.0, 14.0]


def test_a_stored_model_has_them_where_its_training_rows_are(tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    lines = [f"{row['word']},{row['kind']}" for row in WORDS]
    train.write_text("\n".join(["word,kind", *lines[::2], *lines[1::2]]) + "\n")
    test.write_text("\n".join(["word,kind", *lines[::3]]) + "\n")
    use = [{"metric": "accuracy", "slot": "kind"}]
    task = Task(
        "word",
        "what is [TEXT:word]? -> [TEXT:kind,closed_set]",
        train=str(train),
        test=str(test),
        metrics=use,
    )
    sizes = {"hidden": 32, "ffn": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    Generalist.create([task], **sizes).save(tmp_path / "model")
    loaded = Generalist.from_pretrained(tmp_path / "model")
    (row,) = loaded.evaluate("word")
    assert row.baseline == 1.0 and "tf-idf" in row.baseline_doc
    train.unlink()
    (row,) = Generalist.from_pretrained(tmp_path / "model").evaluate("word")
    assert row.baseline is None


def test_what_a_method_imports_at_first_use_is_no_time_of_its_rows() -> None:
    slow = Slow()

    def importing(task: BaselineTask) -> BaselineAnswers:
        slow.now += 0.0 if slow.seen else 40.0
        return slow(task)

    _, rows = fitted(importing, table([0] * 800), Deadline(60.0, lambda: slow.now))
    assert slow.seen == [50, 50, 100] and rows == 100
