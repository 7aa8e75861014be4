"""The cost model of layouts says what is measured on small models."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ofa_planner import activations, work
from ofa_planner.choice import Choice, holders, stage_plan
from ofa_planner.estimate import estimate
from ofa_planner.hardware import GIB, Hardware
from ofa_planner.memory import held
from ofa_planner.search import NothingFitsError, propose
from ofa_planner.weights import weights
from ofa_planner.workload import Workload
from ofacore.config.model_section import ModelConfig
from ofacore.config.sizes import ModelSizeError
from ofacore.config.train_section import OptimizerConfig
from ofacore.model.pipeline.stages import _holders, plan_stages
from ofacore.parallel.process_grid import ProcessGrid
from ofacore.training.optim.optimizer import RunOptimizer
from tests.parallel.launching import launch
from tests.parallel.token_work import batch_of, model_of, work_of

UNTIED = {
    "positions": "untied",
    "scale_attn": True,
    "scale_fc": True,
    "scale_heads": True,
    "qk_norm": False,
    "scale_resids": True,
    "tied_head": False,
}
MODELS = {
    "default": {},
    "no dropout": {"dropout": 0.0},
    "recomputed": {"checkpoint_activations": True},
    "recomputed, no dropout": {"checkpoint_activations": True, "dropout": 0.0},
    "untied": UNTIED,
    "post": {
        "positions": "untied",
        "share_attn_bias": True,
        "norm": "post",
        "norm_type": "rmsnorm",
    },
    "entangled": {"positions": "untied", "entangle_positions": True},
    "experts": {"experts": "topk", "experts_k": 2, "experts_number": 3},
    "shared": {"experts": "topk", "experts_number": 3, "experts_ffn": 24, "experts_shared": 40},
    "all dropouts": {"attention_dropout": 0.1, "activation_dropout": 0.1},
}
LARGE = Workload(ModelConfig(preset="large"), samples=64)


def measured(plan, model):
    """Operations of a step, and bytes that autograd kept."""
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    seen = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            seen[storage.data_ptr()] = storage
        return tensor

    batch = batch_of(plan, plan.samples)
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            total = sum(loss.values.sum() for _, loss in model.losses(batch))
        total.backward()
    return counter.get_total_flops(), sum(storage.nbytes() for storage in seen.values())


@pytest.mark.parametrize("name", MODELS)
def test_parameters_operations_and_activations_are_those_of_the_model(name):
    plan = work_of(**MODELS[name])
    model, again = model_of(plan), plan.config.checkpoint_activations
    assert {w.name: w.shape for w in weights(plan)} == {
        n: tuple(p.shape) for n, p in model.named_parameters()
    }
    flops, kept = measured(plan, model)
    assert work.step(plan, again, plan.samples) == pytest.approx(flops, rel=0.02)
    assert activations.of_stage(plan, Choice(ProcessGrid(), plan.samples, again), 0)[
        0
    ] == pytest.approx(kept, rel=0.05)


def test_activations_of_the_fused_attention_kernel():
    plan = work_of(160, 140)
    kept = measured(plan, model_of(plan))[1]
    assert activations.of_stage(plan, Choice(ProcessGrid(), plan.samples), 0)[0] == pytest.approx(
        kept, rel=0.05
    )


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("method", ["muon", "adamw", "sgd"])
def test_bytes_of_weights_gradients_and_optimiser_are_exact(method, bf16):
    plan = replace(work_of(method=method, **UNTIED), bf16=bf16)
    model = model_of(plan)
    model = model.to_bf16() if bf16 else model
    optimizer = RunOptimizer(model, OptimizerConfig(name=method))
    for master in optimizer.masters.values():
        master.grad = torch.zeros_like(master)
    optimizer.step(1.0)
    found = held(plan, ProcessGrid(), 0)
    assert found.weights == sum(p.numel() * p.element_size() for p in model.parameters())
    assert found.gradients == sum(
        m.grad.numel() * m.grad.element_size() for m in optimizer.masters.values()
    )
    kept = [
        value
        for each in optimizer.optimizers
        for state in each.state.values()
        for value in state.values()
    ]
    kept += list(optimizer.masters.values()) if bf16 else []
    assert found.optimizer == sum(
        value.numel() * value.element_size() for value in kept if value is not None
    )


@pytest.mark.parametrize("stages", [1, 2, 4, 5])
@pytest.mark.parametrize("options", [{}, UNTIED, {"positions": "untied", "share_attn_bias": True}])
def test_stages_hold_what_training_gives_them(options, stages):
    plan = work_of(**options)
    model = model_of(plan)
    cut = plan_stages(model, stages)
    assert stage_plan(plan, stages) == cut
    assert all(holders(w, cut) == _holders(w.name, model, cut) for w in weights(plan))


def test_layouts_share_out_what_one_process_holds():
    whole = held(LARGE, ProcessGrid(), 0)
    split = held(LARGE, ProcessGrid(4, tensor=4), 0)
    assert whole.total / 4 < split.total < 1.01 * whole.total / 4
    zero = held(LARGE, ProcessGrid(8, zero=True), 0)
    assert (
        zero.weights == whole.weights
        and whole.optimizer / 8 < zero.optimizer < 1.5 * whole.optimizer / 8
    )
    assert held(LARGE, ProcessGrid(8, fsdp=True), 0).total < whole.total / 2


def test_shares_of_time_add_up_and_bubbles_shrink_with_more_micro_batches():
    layout = ProcessGrid(4, pipeline=4)
    few, many = (estimate(LARGE, Choice(layout, size), Hardware()).time for size in (16, 4))
    assert few.bubble / few.total == pytest.approx(3 / 7, rel=0.1)
    assert many.bubble / many.total == pytest.approx(3 / 19, rel=0.1)
    assert few.total == few.compute + few.communication + few.bubble + few.optimizer


def test_proposals_fit_and_the_fastest_is_first():
    found = propose(LARGE, 4, Hardware())
    speeds = [each.samples_per_second for each in found.fitting]
    assert speeds == sorted(speeds, reverse=True)
    assert all(each.memory.total < 80 * GIB for each in found.fitting)
    assert {each.choice.layout.pipeline for each in found.fitting} == {1, 2, 4}


def test_what_cannot_work_is_left_out_with_its_numbers():
    odd = Workload(
        ModelConfig(preset="large", hidden=1020, heads=6, encoder_layers=1, decoder_layers=1),
        samples=8,
    )
    reasons = {each.layout: each.why for each in propose(odd, 4, Hardware()).left_out}
    assert "1 encoder + 1 decoder layers cannot be cut into --pp 4 stages" in reasons["TP1 PP4 DP1"]
    assert (
        "6 attention heads cannot be shared by --tp 4 processes; nearest that works: 2"
        in reasons["TP4 PP1 DP1"]
    )


def test_where_nothing_fits_the_nearest_is_named_with_what_is_missing():
    with pytest.raises(NothingFitsError, match=r"nearest, TP.*GiB are missing on each GPU"):
        propose(LARGE, 2, Hardware(memory=1))


def test_a_preset_that_is_not_there_is_an_error():
    with pytest.raises(ModelSizeError):
        propose(Workload(ModelConfig(preset="lage")), 2, Hardware())


@pytest.mark.dist
@pytest.mark.slow
def test_bytes_between_two_processes_are_those_counted(tmp_path):
    done = launch("tests.parallel.traffic_launch", 2, str(tmp_path))
    assert [code for code, _ in done] == [0, 0], done
    for rank in (0, 1):
        for name, (computed, counted) in json.loads(
            (tmp_path / f"{rank}.json").read_text()
        ).items():
            assert computed.keys() == counted.keys(), (name, computed, counted)
            for operation, size in computed.items():
                assert counted[operation] == pytest.approx(size, rel=0.01), (name, operation)
