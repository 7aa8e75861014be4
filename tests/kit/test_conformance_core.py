"""The conformance kit on the core's own components."""

import numpy as np
import pytest

from ofa_kit import (
    AdapterConformance,
    AggregatorConformance,
    BackboneConformance,
    CriterionConformance,
    GeneratorConformance,
    PositionsConformance,
    RouterConformance,
    ScheduleConformance,
    TrackerConformance,
)

CORE = "ofacore.components.manifest:MANIFEST"
PROBE = "ofa_kit.probe:MANIFEST"


class TestTokenAdapter(AdapterConformance):
    plugin = CORE
    requires = (PROBE,)
    slot = "PROBE"
    adapter = "token"
    values = [0, 1, 2, 3]


class TestCrossEntropy(CriterionConformance):
    plugin = CORE
    criterion = "cross_entropy"
    head = "token"

    def labels(self, length, item, rng):
        return {"ids": rng.integers(6, 10, size=length)}


class TestClosedCrossEntropy(TestCrossEntropy):
    options = {"label_smoothing": 0.1}

    def labels(self, length, item, rng):
        allowed = np.tile(np.arange(6, 10), length)
        return {
            **super().labels(length, item, rng),
            "allowed": allowed,
            "allowed_lengths": np.full(length, 4),
        }


class TestContrastive(CriterionConformance):
    plugin = CORE
    criterion = "contrastive"
    lengths = (1, 1, 1, 1)

    def labels(self, length, item, rng):
        return {
            "pair": np.array([item // 2]),
            "side": np.array([item % 2]),
            "identity": np.array([item]),
        }


class TestTokenGenerator(GeneratorConformance):
    plugin = CORE
    requires = (PROBE,)
    slot = "PROBE"
    generator = "token"
    generation = ({}, {"strategy": "beam", "beam": 3}, {"strategy": "sample"})


class TestAll(ScheduleConformance):
    plugin = CORE
    schedule = "all"
    shares = {"a": 0.25, "b": 0.25, "c": 0.5}

    @pytest.mark.parametrize("samples", [7, 24])
    def test_every_task_is_in_every_step(self, samples):
        assert all(set(self._new(samples).counts(step)) == set(self.tasks) for step in range(5))


class TestProportional(ScheduleConformance):
    plugin = CORE
    schedule = "proportional"
    shares = {"a": 1000 / 1120, "b": 100 / 1120, "c": 20 / 1120}


class TestTemperature(ScheduleConformance):
    plugin = CORE
    schedule = "temperature"


class TestWeights(ScheduleConformance):
    plugin = CORE
    schedule = "weights"
    options = {"weights": {"a": 3.0}}
    shares = {"a": 0.5, "b": 1 / 6, "c": 1 / 3}


class TestRoundRobin(ScheduleConformance):
    plugin = CORE
    schedule = "round_robin"
    shares = {"a": 0.25, "b": 0.25, "c": 0.5}


class TestCurriculum(ScheduleConformance):
    plugin = CORE
    schedule = "curriculum"
    options = {"start": {"b": 10}, "ramp": 5}


class TestMegatron(BackboneConformance):
    plugin = CORE
    backbone = "megatron"


class TestMegatronUntied(TestMegatron):
    requires = ("ofa_positions_untied.manifest:MANIFEST",)
    model = {"positions": "untied", "norm": "post"}


class TestMegatronExperts(TestMegatron):
    model = {"experts": "topk", "experts_k": 2, "activation": "silu"}


class TestRotary(PositionsConformance):
    plugin = CORE
    positions = "rotary"


class TestModalityRouter(RouterConformance):
    plugin = CORE
    router = "modality"


class TestTaskRouter(RouterConformance):
    plugin = CORE
    router = "task"


class TestLearnedRouter(RouterConformance):
    plugin = CORE
    router = "topk"


class TestSum(AggregatorConformance):
    plugin = CORE
    aggregator = "sum"


class TestJsonLines(TrackerConformance):
    plugin = CORE
    tracker = "jsonl"


class TestTensorBoard(TrackerConformance):
    plugin = CORE
    tracker = "tensorboard"
