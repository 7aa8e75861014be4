"""What a slot publishes while it is encoded reaches all that needs it: encoding, answers, references, the kit."""

from __future__ import annotations

import pytest

from ofa_kit import ClosedRegistry, ModalityConformance
from ofacore import Generalist, Task
from ofacore.evaluation.metric_check import try_metrics
from ofacore.evaluation.runner import evaluate_tasks
from tests.contract import gauges

SIZES = {"hidden": 32, "ffn": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}


class Suite(ModalityConformance):
    plugin = gauges.MANIFEST
    slot = "LEVEL"
    values = (0.25, 0.5, 0.0)
    context = "[SPAN:span]"
    row = {"span": [0.0, 2.0]}


def test_the_kit_takes_the_plugin():
    kit = Suite()
    bench = kit.bench()
    kit.test_round_trip(bench)
    kit.test_references_look_like_answers(bench)
    kit.test_expected_targets_are_those_that_are_learned(bench)
    kit.test_published_values_are_typed(bench)


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
