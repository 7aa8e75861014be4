"""The balance of learned routers is a term of the loss."""

import json

import numpy as np
import pytest
import torch

from ofacore import Generalist, Task
from ofacore.config.train_section import FaultConfig, OptimizerConfig
from ofacore.training.gradients import GradientPass
from ofacore.training.optim.optimizer import RunOptimizer
from ofacore.training.step.faults import FaultCounters
from tests.model import layouts
from tests.training.small import whole_step

ROUTER = "router.weight"


def gradient(weight, cuts=1):
    model = layouts.model(experts="topk", experts_number=3, experts_k=1, experts_balance=weight)
    rng = np.random.default_rng(0)
    samples = [layouts.random_sample(rng, task=task) for task in "abab"]
    size = len(samples) // cuts
    batches = [
        layouts.collate(samples[start : start + size]) for start in range(0, len(samples), size)
    ]
    counts = {}
    for group in (group for batch in batches for group in batch.terms):
        for term, count in zip(group.terms, group.counts, strict=True):
            counts[term] = counts.get(term, 0) + count
    optimizer = RunOptimizer(model, OptimizerConfig(name="adamw"))
    passing = GradientPass(
        model, optimizer, FaultConfig(), FaultCounters(FaultConfig()), loss_weights={"a": 7.0}
    )
    result = passing.run(whole_step(0, batches, counts))
    grads = {
        name: master.grad for name, master in optimizer.masters.items() if name.endswith(ROUTER)
    }
    return model, batches, grads, result


@pytest.mark.parametrize("cuts", [1, 2])
def test_the_term_adds_its_weight_times_the_mean_over_samples(cuts):
    _, _, without, plain = gradient(0.0, cuts)
    model, batches, found, result = gradient(0.5, cuts)
    assert "train/balance" not in plain.values
    model.zero_grad()
    mean = torch.stack([model.hidden(batch).balance for batch in batches]).mean()
    (0.5 * mean).backward()
    assert result.values["train/balance"] == pytest.approx(mean.item())
    routers = {name: p.grad for name, p in model.named_parameters() if name.endswith(ROUTER)}
    assert routers and any(bool(value.any()) for value in routers.values())
    for name, expected in routers.items():
        torch.testing.assert_close(found[name] - without[name], expected, atol=1e-5, rtol=1e-3)


def test_training_on_it_spreads_positions_over_the_experts():
    model, batches, _, _ = gradient(1.0)
    optimizer = RunOptimizer(model, OptimizerConfig(name="adamw", lr=1e-2))
    before = model.hidden(batches[0]).balance.item()
    for _ in range(30):
        optimizer.zero_grad()
        model.hidden(batches[0]).balance.backward()
        optimizer.step(1.0)
    assert model.hidden(batches[0]).balance.item() < before - 0.05


@pytest.mark.parametrize("trusting", [True, False])
def test_losses_over_a_whole_step_leave_it_in_place(tmp_path, monkeypatch, trusting):
    monkeypatch.setattr(GradientPass, "reads_at_the_end", trusting)
    rows = [{"a": f"w{k}", "b": f"v{k}"} for k in range(8)]
    task = Task("pairs", "[TEXT:a|TEXT:b] ->", train=rows)
    sizes = {"hidden": 16, "ffn": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    model = Generalist.create([task], experts="topk", experts_balance=0.5, **sizes)
    train = {"samples": 8, "micro_batch_samples": 4, "precision": "fp32"}
    folder = model.fit(1, out=tmp_path / "run", trackers=("jsonl",), **train)
    first = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    assert first["train/balance"] > 0


def test_validation_loss_is_of_the_rows_alone(tmp_path):
    rows = [{"a": f"w{k}", "b": f"v{k}"} for k in range(8)]
    task = Task("copy", "[TEXT:a] -> [TEXT:b]", train=rows, valid=rows)
    sizes = {"hidden": 16, "ffn": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    model = Generalist.create([task], experts="topk", experts_balance=0.5, **sizes)
    folder = model.fit(1, out=tmp_path / "run", samples=8, precision="fp32", trackers=("jsonl",))
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    names = {name for record in records for name in record if name.endswith("/loss")}
    assert {name for name in names if name.startswith("valid/")} == {"valid/copy/b/loss"}
