"""Metrics of embeddings judge what a contrast has trained, over all held-out rows at once."""

from __future__ import annotations

import numpy as np
import pytest

from ofa_kit import MetricConformance
from ofacore import Generalist, Task
from ofacore.ground.errors import UserError
from ofacore.parts import Recall
from ofacore.plugin import CONTRACT, Component, ComponentManifest, Registry
from tests.contract.test_contrast import LINE, ROWS, SIZES

SEEN: list[int] = []


class MeanRank:
    """Mean place of the partner among all rows; a metric of a third party."""

    higher_is_better, needs = False, "embeddings"

    def __init__(self, options):
        self.pairs = []

    def update(self, predictions, references, rows):
        assert all(row["word"] is not None for row in rows)
        self.pairs += list(zip(predictions, references, strict=True))

    def compute(self):
        SEEN.append(len(self.pairs))
        left, right = (np.stack(side) for side in zip(*self.pairs, strict=True))
        nearness = left @ right.T
        return {"mean_rank": float(1 + (nearness > nearness.diagonal()[:, None]).sum(1).mean())}

    def merge(self, other):
        self.pairs += other.pairs

    def items(self):
        return ()


class Broken(MeanRank):
    """Raises whatever it is given."""

    def update(self, predictions, references, rows):
        raise ZeroDivisionError("no good")


MANIFEST = ComponentManifest(
    "ranks",
    CONTRACT,
    (
        Component("metric", "mean_rank", f"{__name__}:MeanRank", "Mean rank."),
        Component("metric", "broken", f"{__name__}:Broken", "Faulty."),
    ),
)


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("OFA_PLUGIN_DEV", "ranks=tests.contract.test_retrieval:MANIFEST")
    return Registry.discover()


def made(registry: Registry, *uses: dict, line: str = LINE, rows=ROWS) -> Generalist:
    task = Task("match", line, train=ROWS, valid=rows, test=rows, metrics=[*uses])
    return Generalist.create([task], registry=registry, dropout=0.0, **SIZES)


def test_retrieval_over_all_rows_improves_when_it_is_trained(plugged, tmp_path):
    uses = [
        {"metric": "mean_rank", "slot": "word"},
        {"metric": "recall", "slot": "roman", "options": {"k": [1, 3]}},
    ]
    model = made(plugged, *uses)
    before = {row.metric: row.score for row in model.evaluate(limit=None)}
    assert before.keys() == {"mean_rank", "recall@1", "recall@3"} and max(SEEN) == len(ROWS)
    train = {
        "validation": {"every": 30, "generate": True},
        "checkpoint": {"best": "valid/match/mean_rank"},
    }
    model.fit(steps=60, samples=8, out=tmp_path / "run", precision="fp32", **train)
    rows = {row.metric: row for row in model.evaluate()}
    assert rows["mean_rank"].score == 1.0 < before["mean_rank"]
    assert rows["recall@1"].score == 1.0 > before["recall@1"] and 0.6 < rows["recall@1"].low < 1.0
    assert "valid/match/mean_rank" in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_it_gets_the_vectors_that_encode_gives(plugged):
    model = made(plugged, {"metric": "mean_rank", "slot": "roman"})
    romans = model.encode("match", ROWS, slot="roman")
    words = model.encode("match", ROWS, slot="word")
    nearness = romans @ words.T
    rank = 1 + (nearness > nearness.diagonal()[:, None]).sum(1).float().mean()
    (row,) = model.evaluate()
    assert row.score == pytest.approx(float(rank), abs=0.3)


def test_a_row_without_one_side_is_left_out_and_named(plugged, caplog):
    model = made(
        plugged, {"metric": "recall", "slot": "word"}, rows=[*ROWS, {"word": "nine", "roman": None}]
    )
    rows = model.evaluate()
    assert [(row.samples, row.left_out) for row in rows] == [(len(ROWS), 1)] * 3
    assert "1 of 9 rows of task 'match' left out" in caplog.text


def test_embeddings_without_a_contrast_are_refused_with_place_and_way_out(plugged):
    told = r"tasks\.match\.metrics\.0\.slot: metric 'mean_rank' compares embeddings .* slot 'roman' is no side of one"
    with pytest.raises(UserError, match=rf"{told}; write one as \[TYPE:a\|TYPE:b\]"):
        made(plugged, {"metric": "mean_rank", "slot": "roman"}, line="[TEXT:word] -> [TEXT:roman]")


def test_a_metric_of_values_is_refused_on_a_side_of_a_contrast(plugged):
    with pytest.raises(
        UserError,
        match=r"metrics\.0\.slot: metric 'accuracy' judges values, and nothing is generated",
    ):
        made(plugged, {"metric": "accuracy", "slot": "roman"})


def test_one_that_raises_is_named_before_training(plugged):
    with pytest.raises(UserError, match=r"metric 'broken' .*no good"):
        made(plugged, {"metric": "broken", "slot": "roman"})


UNIT = np.eye(5, dtype=np.float32)


class TestRecall(MetricConformance):
    plugin = "ofacore.components.manifest:MANIFEST"
    metric = "recall"
    options = {"k": [1, 2]}
    predictions = (*UNIT[:3], UNIT[4], UNIT[3])
    references = tuple(UNIT)
    bounds = (0.0, 1.0)


def test_equal_vectors_score_by_chance_wherever_they_stand():
    for seed in range(30):
        vector = np.random.default_rng(seed).normal(size=64).astype(np.float32)
        metric = Recall({"k": [1]})
        metric.update([vector] * 7, [vector.copy() for _ in range(7)], [{}] * 7)
        assert metric.items() == pytest.approx([1 / 7] * 7)


def test_equal_vectors_score_by_chance():
    metric = Recall({"k": [1, 2]})
    metric.update([UNIT[0]] * 8, [UNIT[0]] * 8, [{}] * 8)
    assert metric.compute() == {"recall@1": 1 / 8, "recall@2": 2 / 8}
    with pytest.raises(ValueError, match="one number from 1"):
        Recall({"k": 0})
