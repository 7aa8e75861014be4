"""Faults in the real stack: narrowed to the sample that is to blame, while the others are trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ofacore import Generalist, Task
from ofacore.batching.steps import Step, StepLoader
from ofacore.checkpoint import find_latest, load
from ofacore.config.train_section import FaultConfig, OptimizerConfig, TrainConfig
from ofacore.generalist.fitting import (
    fit,
    loader_settings,
    schedule,
    training_data,
)
from ofacore.training.callbacks.base import Callback
from ofacore.training.gradients import GradientPass, StepGradient
from ofacore.training.optim.optimizer import RunOptimizer
from ofacore.training.step.faults import Fault, FaultCounters

WORDS = ("red", "green", "blue", "cat", "dog", "sun")
POISONED = 3


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Leaky:
    """A preprocessor that lets numbers through that are not finite."""

    inner: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def encode(self, value: Any, slot: Any, ctx: Any) -> Any:
        found = self.inner.encode(value, slot, ctx)
        return [_with_nan(segment) for segment in found] if ctx.row["t"] == "poison" else found


def _with_nan(segment: Any) -> Any:
    features = {
        name: np.full_like(array, np.nan) if np.issubdtype(array.dtype, np.floating) else array
        for name, array in segment.features.items()
    }
    return replace(segment, features=features)


def clip(number: int) -> np.ndarray:
    t = np.linspace(0, 6, 8 + number % 3, dtype=np.float32)
    return np.stack([np.sin(t + number), np.cos(t), t], 1)


def generalist(poisoned: bool = True, **train: Any) -> Generalist:
    moves = [
        {"m": clip(i), "t": "poison" if poisoned and i == POISONED else WORDS[i]} for i in range(6)
    ]
    turns = [{"a": word, "t": word.upper()} for word in WORDS]
    tasks = [
        Task("move", "[MOTION:m,min_length=0] -> [TEXT:t]", train=moves),
        Task("turn", "[TEXT:a] -> [TEXT:t]", train=turns),
    ]
    model = Generalist.create(
        tasks, hidden=32, ffn=64, heads=2, encoder_layers=1, decoder_layers=1, dropout=0.0
    )
    config = model.assembly.config
    given = {
        "samples": 12,
        "precision": "fp32",
        "threads": 1,
        "steps": 2,
        "trackers": ("jsonl",),
        **train,
    }
    section = TrainConfig.model_validate({**config.train.model_dump(), **given})
    model.assembly.config = config.model_copy(update={"train": section})
    name = next(
        slot.preprocessor for slot in model.assembly.plans["move"].slots() if slot.type == "MOTION"
    )
    model.assembly.preprocessors[name] = Leaky(model.assembly.preprocessors[name])
    return model


def first_step(model: Generalist) -> Step:
    settings = loader_settings(model.assembly.config.train)
    return next(iter(StepLoader(training_data(model), schedule(model), settings, stop=1)))


def gradient(
    model: Generalist, step: Step
) -> tuple[dict[str, Tensor | None], StepGradient, FaultCounters]:
    optimizer = RunOptimizer(model.model, OptimizerConfig(name="adamw"))
    counters = FaultCounters(FaultConfig())
    model.model.train()
    result = GradientPass(model.model, optimizer, FaultConfig(), counters, 1).run(step)
    found = {
        name: None if m.grad is None else m.grad.clone() for name, m in optimizer.masters.items()
    }
    return found, result, counters


def samples_of(step: Step) -> list[tuple[str, int]]:
    return [(sample.task, sample.number) for batch in step.batches for sample in batch.samples]


@pytest.mark.parametrize("packing", [True, False])
def test_halves_hold_the_samples_of_a_micro_batch_in_order(packing):
    step = first_step(generalist(packing=packing))
    (whole,) = step.batches
    first, second = step.halves(whole)
    assert samples_of(replace(step, batches=[first, second])) == samples_of(step)
    assert (
        first.source is not None
        and (len(first.source.layout.rows[0]) < len(first.samples)) == packing
    )
    single = step.halves(step.halves(step.halves(first)[0])[0])[0]
    assert len(single.samples) == 1 and step.halves(single) == [single]


def test_features_with_nan_cost_their_own_sample_alone():
    model = generalist()
    step = first_step(model)
    found, result, counters = gradient(model, step)
    rows = {
        sample.row_id for batch in step.batches for sample in batch.samples if sample.task == "move"
    }
    assert len(rows) == 6
    assert [(fault.task, fault.row_id) for fault in result.faults] == [
        ("move", f"rows[{POISONED}]")
    ]
    assert counters.totals == {"nan": 1}
    batches = [batch for micro in step.batches for batch in singles(step, micro)]
    guilty = ("move", f"rows[{POISONED}]")
    innocent = [
        each for each in batches if (each.samples[0].task, each.samples[0].row_id) != guilty
    ]
    assert len(innocent) == 11
    expected, _, _ = gradient(model, replace(step, batches=innocent))
    for name, value in expected.items():
        assert (value is None) == (found[name] is None), name
        if value is not None:
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


def singles(step: Step, batch: Any) -> list[Any]:
    halves = step.halves(batch)
    return (
        [batch]
        if len(halves) == 1
        else [single for half in halves for single in singles(step, half)]
    )


def test_out_of_memory_is_met_by_halving():
    model = generalist(poisoned=False)
    step = first_step(model)
    expected, _, _ = gradient(model, step)
    hidden = model.model.hidden

    def scarce(batch: Any) -> Any:
        if len(batch.samples) > 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return hidden(batch)

    model.model.hidden = scarce
    found, _, counters = gradient(model, step)
    assert counters.totals == {"out_of_memory": 3}
    for name, value in expected.items():
        if value is not None:
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


class Faults(Callback):
    """Collects what was reported."""

    name = "collector"

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def on_step(self, trainer: Any, report: Any) -> None:
        self.found += report.faults


def test_a_run_goes_on_and_names_the_row(tmp_path):
    model, faults = generalist(), Faults()
    fit(model, tmp_path / "run", callbacks=[faults], quiet=True)
    assert {(fault.task, fault.row_id) for fault in faults.found} == {("move", f"rows[{POISONED}]")}
    assert len(faults.found) == 2
    assert all(bool(value.isfinite().all()) for value in model.model.parameters())


def test_a_run_with_averaged_weights_loads(tmp_path):
    model = generalist(poisoned=False, ema=0.5)
    fit(model, tmp_path / "run", quiet=True)
    loaded_model = Generalist.from_pretrained(tmp_path / "run").model
    latest = find_latest(tmp_path / "run")
    assert latest is not None
    trained, averaged = load(latest).model, loaded_model.portable_state()
    assert trained.keys() == averaged.keys()
    changed = [name for name in trained if not torch.equal(trained[name], averaged[name])]
    assert any(name.startswith("embedding.text/") for name in changed)
    returned = model.model.portable_state()
    assert all(torch.equal(value, averaged[name]) for name, value in returned.items()), (
        "what a run returns is loaded"
    )
