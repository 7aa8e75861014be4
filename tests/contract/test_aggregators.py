"""An aggregator of a plugin makes one gradient of those of the tasks."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from ofacore import Generalist, Task
from ofacore.config import ConfigError
from ofacore.config.schema import RunConfig
from ofacore.config.train_section import TrainConfig
from ofacore.ground.errors import UserError
from ofacore.plugin import Registry
from ofacore.protocols import AggregatorContext
from ofacore.runs.rehearsal import rehearse
from ofacore.setup.run_check import checked_run
from tests.contract import surgery

WORDS = ["red", "green", "blue", "cat", "dog"]
ROWS = [{"a": f"{x} {y}", "b": f"{y} {x}"} for x in WORDS for y in WORDS]
SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}
TASKS = {"turn": "turn [TEXT:a] -> [TEXT:b]", "copy": "copy [TEXT:b] -> [TEXT:a]"}
QUICK = {
    "samples": 12,
    "precision": "fp32",
    "log_every": 1,
    "optimizer": {"name": "sgd", "lr": 0.1},
}


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("OFA_PLUGIN_DEV", "surgery=tests.contract.surgery:MANIFEST")
    surgery.WrittenOut.seen.clear()
    return Registry.discover()


def made(registry: Registry, **more) -> Generalist:
    tasks = [Task(name, line, train=ROWS) for name, line in TASKS.items()]
    return Generalist.create(tasks, registry=registry, **{**SIZES, "dropout": 0.0, **more})


def trained(
    registry: Registry, folder, model=None, steps=4, sizes=None, **train
) -> dict[str, torch.Tensor]:
    model = model or made(registry, **(sizes or {}))
    model.fit(steps=steps, out=folder, **{**QUICK, **train})
    return {name: value.clone() for name, value in model.model.portable_state().items()}


def losses(folder) -> list[float]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    keys = ["train/turn/b", "train/copy/a"]
    return [record[key] for record in records for key in keys if key in record]


def distance(left, right) -> float:
    assert left.keys() == right.keys()
    return max(float((left[name] - right[name]).abs().max()) for name in left)


SETTINGS = {
    "plain": {},
    "small micro-batches": {"micro_batch_samples": 2},
    "bf16": {"precision": "bf16", "micro_batch_samples": 4},
}


@pytest.mark.parametrize("train", SETTINGS.values(), ids=SETTINGS)
def test_a_sum_that_is_written_out_trains_like_the_sum(plugged, tmp_path, train):
    plain = trained(plugged, tmp_path / "plain", **train)
    written = trained(plugged, tmp_path / "written", aggregator="written_out", **train)
    assert distance(plain, written) < (2e-3 if train.get("precision") == "bf16" else 1e-5)
    assert losses(tmp_path / "plain") == pytest.approx(losses(tmp_path / "written"), abs=1e-3)


@pytest.mark.parametrize(
    "sizes",
    [
        {"checkpoint_activations": True, "positions": "untied"},
        {"experts": "topk", "experts_number": 2},
    ],
    ids=["recomputed", "experts"],
)
def test_so_it_does_with_layers_that_compute_again_or_balance(plugged, tmp_path, sizes):
    plain = trained(plugged, tmp_path / "plain", sizes=sizes, steps=3)
    written = trained(
        plugged, tmp_path / "written", sizes=sizes, steps=3, aggregator={"name": "written_out"}
    )
    assert distance(plain, written) < 1e-5


def test_it_sees_the_gradients_of_each_task_over_the_whole_step(plugged, tmp_path):
    trained(plugged, tmp_path / "cut", aggregator="written_out", micro_batch_samples=2, steps=1)
    trained(plugged, tmp_path / "whole", aggregator="written_out", steps=1)
    (_, cut_losses, cut), (step, whole_losses, whole) = surgery.WrittenOut.seen
    assert step == 0 and sorted(whole) == ["copy", "turn"]
    for task, own in whole.items():
        assert whole_losses[task] == pytest.approx(cut_losses[task], rel=1e-5)
        for name, gradient in own.items():
            torch.testing.assert_close(gradient, cut[task][name], atol=1e-6, rtol=1e-4)
    assert any(
        not torch.allclose(whole["copy"][name], whole["turn"][name]) for name in whole["copy"]
    )


def test_gradients_that_are_normalised_have_the_norm_that_was_asked_for(plugged, tmp_path):
    options = {"name": "normalise", "options": {"norm": 0.25}}
    one = {
        "aggregator": options,
        "optimizer": {"name": "sgd", "lr": 1.0, "clip": 0.0, "weight_decay": 0.0},
    }
    model = made(plugged)
    before = {name: value.clone() for name, value in model.model.portable_state().items()}
    after = trained(
        plugged, tmp_path / "run", model=model, steps=1, lr={"name": "constant", "warmup": 0}, **one
    )
    moved = torch.stack([(after[name] - before[name]).norm() for name in after]).norm()
    assert 0.05 < float(moved) <= 2 * 0.25 + 1e-4


def test_gradient_surgery_takes_conflict_away_and_learns(plugged, tmp_path):
    a = {"w": torch.tensor([1.0, 0.0])}
    b = {"w": torch.tensor([-1.0, 1.0])}
    ctx = AggregatorContext(0, np.random.default_rng(0), {"w": torch.zeros(2)})
    found = surgery.Project({})({"a": 1.0, "b": 1.0}, {"a": a, "b": b}, ctx)
    torch.testing.assert_close(found["w"], torch.tensor([0.5, 1.5]))
    train = {"optimizer": {"name": "adamw", "lr": 5e-3}}
    trained(plugged, tmp_path / "run", steps=25, aggregator="project", **train)
    seen = losses(tmp_path / "run")
    assert sum(seen[-2:]) < 0.75 * sum(seen[:2])


def test_a_contrast_over_the_whole_step_is_told_apart_by_task(plugged, tmp_path):
    lines = {
        "pair": "[TEXT:a|TEXT:b] ->",
        "other": "other [TEXT:a|TEXT:b] ->",
        "turn": TASKS["turn"],
    }
    found = []
    for name, aggregator in (("plain", "sum"), ("written", "written_out")):
        tasks = [Task(name, line, train=ROWS) for name, line in lines.items()]
        model = Generalist.create(tasks, registry=plugged, **SIZES, dropout=0.0)
        found.append(
            trained(
                plugged, tmp_path / name, model=model, aggregator=aggregator, micro_batch_samples=3
            )
        )
    assert distance(*found) < 1e-5
    assert sorted(surgery.WrittenOut.seen[0][1]) == ["other", "pair", "turn"]


def test_what_it_learned_goes_with_the_checkpoint(plugged, tmp_path):
    straight = trained(
        plugged, tmp_path / "straight", steps=4, aggregator="remembers", lr={"name": "constant"}
    )
    trained(plugged, tmp_path / "run", steps=2, aggregator="remembers", lr={"name": "constant"})
    again = Generalist.from_pretrained(tmp_path / "run", registry=plugged)
    data = dict.fromkeys(TASKS, ROWS)
    resumed = trained(plugged, tmp_path / "run", model=again, steps=4, resume=True, data=data)
    assert distance(straight, resumed) == 0.0


def test_weights_of_losses_cost_no_pass_and_without_any_all_is_as_with_the_sum(plugged, tmp_path):
    surgery.Weighs.seen.clear()
    plain = trained(plugged, tmp_path / "plain", steps=2)
    weighed = trained(plugged, tmp_path / "weighed", steps=2, aggregator="weighs")
    assert distance(plain, weighed) == 0.0
    tasks, seen = surgery.Weighs.seen[:2]
    assert tasks == ["copy", "turn"] and sorted(seen) == tasks
    told = losses(tmp_path / "weighed")
    assert [seen["turn"], seen["copy"]] == pytest.approx(told[:2], abs=1e-5)


def test_a_task_of_weight_0_is_not_learned(plugged, tmp_path):
    """As if its losses had that factor in the configuration; the loss that is learned from has no factor."""
    surgery.Weighs.seen.clear()
    none = {"name": "weighs", "options": {"weights": {"turn": 0.0, "copy": 0.0}}}
    model = made(plugged)
    before = {name: value.clone() for name, value in model.model.portable_state().items()}
    still = {"optimizer": {"name": "sgd", "lr": 1.0, "weight_decay": 0.0}}
    after = trained(plugged, tmp_path / "run", model=model, steps=1, aggregator=none, **still)
    assert distance(before, after) == 0.0
    assert surgery.Weighs.seen[1]["turn"] > 0


def test_weights_that_are_no_numbers_are_refused_with_their_plugin(plugged, tmp_path):
    wrong = {"name": "weighs", "options": {"weights": {"turn": -1.0}}}
    with pytest.raises(
        UserError, match="aggregator 'weighs'.*task 'turn' the weight -1.0, no number"
    ):
        trained(plugged, tmp_path / "run", aggregator=wrong)


FAULTS = {
    "none": "no mapping from parameters",
    "unknown": "'nothing.weight', which is no trained parameter",
    "shape": r"of shape \(1,\); it has",
    "nan": "not finite, from gradients that are",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_no_gradient_is_refused_with_its_plugin(plugged, tmp_path, fault):
    with pytest.raises(
        UserError,
        match=f"(?s)aggregator 'wrong' of plugin 'surgery'.*at step 0 it.*{FAULTS[fault]}",
    ):
        trained(
            plugged, tmp_path / "run", aggregator={"name": "wrong", "options": {"fault": fault}}
        )


def test_what_it_raises_names_its_plugin(plugged, tmp_path):
    with pytest.raises(KeyError) as caught:
        trained(
            plugged, tmp_path / "run", aggregator={"name": "wrong", "options": {"fault": "raises"}}
        )
    assert "aggregator 'wrong' of plugin 'surgery'" in "".join(caught.value.__notes__)


def on_a_rank(folder: str) -> list[float]:
    """Train on this rank's share; the values of every weight, one behind the other."""
    os.environ["OFA_PLUGIN_DEV"] = "surgery=tests.contract.surgery:MANIFEST"
    weights = trained(
        Registry.discover(), Path(folder), aggregator="project", micro_batch_samples=4
    )
    return torch.cat([weights[name].flatten() for name in sorted(weights)]).tolist()


@pytest.mark.dist
def test_data_ranks_make_the_gradient_of_one_process(plugged, tmp_path, run_distributed):
    here = on_a_rank(str(tmp_path / "one"))
    for there in run_distributed(on_a_rank, 2, str(tmp_path / "two")):
        assert there == pytest.approx(here, abs=1e-5)


@pytest.mark.parametrize("cut", [{"tp": 2}, {"pp": 2}, {"fsdp": True}])
def test_a_layout_that_cuts_gradients_is_refused_before_anything_starts(plugged, cut):
    (key,) = cut
    values = {
        "tasks": {"turn": {"instruction": TASKS["turn"], "data": {"train": ROWS}}},
        "model": SIZES,
        "train": {"aggregator": "project"},
        "parallel": {"nproc": 2, **cut},
    }
    message = f"(?s)train.aggregator.name: aggregator 'project' needs the whole.*parallel.{key}.*train.aggregator=sum"
    with pytest.raises(UserError, match=message):
        Generalist.create(config=RunConfig.model_validate(values), registry=plugged)
    values["train"] = {"aggregator": "sum"}
    checked_run(RunConfig.model_validate(values), plugged)


def problems_of(values, registry):
    with pytest.raises(ConfigError) as caught:
        checked_run(RunConfig.model_validate(values), registry)
    return caught.value.problems


def test_names_and_options_are_checked_before_any_work(plugged):
    values = {
        "tasks": {"turn": {"instruction": TASKS["turn"], "data": {"train": ROWS}}},
        "train": {"aggregator": {"name": "normalise", "options": {"norm": -1}}},
    }
    (found,) = problems_of(values, plugged)
    assert found.path == "train.aggregator.options.norm" and "expected at least 0" in found.message
    values["train"] = {"aggregator": "projekt"}
    (found,) = problems_of(values, plugged)
    assert found.path == "train.aggregator.name" and found.hint == "did you mean 'project'?"


def test_a_rehearsal_makes_the_gradient_that_training_makes(plugged, tmp_path):
    model = made(plugged)
    train = model.assembly.config.train
    asked = TrainConfig.model_validate({**QUICK, "aggregator": "written_out"})
    model.assembly.config = model.assembly.config.model_copy(
        update={"train": train.model_copy(update=dict(asked))}
    )
    rehearse(model, Console(quiet=True))
    assert [step for step, *_ in surgery.WrittenOut.seen] == [0, 1]
