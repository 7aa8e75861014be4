"""What a slot publishes while it is encoded reaches all that needs it: encoding, answers, references."""

from __future__ import annotations

import pytest

from ofa_kit import ClosedRegistry
from ofacore import Generalist, Task
from ofacore.evaluation.metric_check import try_metrics
from ofacore.evaluation.runner import evaluate_tasks
from tests.contract import gauges

SIZES = {"hidden": 32, "ffn": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}


@pytest.fixture(scope="module")
def model():
    registry = ClosedRegistry().register("ofa_kit.probe:MANIFEST", gauges.MANIFEST, gauges.TASKS)
    return Generalist.create([Task("level", preset="level")], registry=registry, **SIZES)


def test_metrics_are_tried_on_references_that_need_it(model, caplog):
    (tried,) = try_metrics(model.assembly, model.data)
    assert tried.names == ("level_error",) and not caplog.messages


def test_a_baseline_is_judged_by_references_that_need_it(model):
    (found,) = evaluate_tasks(model, ["level"], "test")
    (score,) = found.scores
    assert score.samples == 4 and score.baseline == pytest.approx(5.25)
