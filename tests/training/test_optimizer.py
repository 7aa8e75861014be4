"""Optimisers against torch's own, masters, rules, clipping."""

import pytest
import torch
from torch import nn

from ofacore.config.train_section import GroupRule, OptimizerConfig
from ofacore.training.optim import muon
from ofacore.training.optim.muon import Muon, orthogonal_updates, orthogonalise, stacked
from ofacore.training.optim.optimizer import RunOptimizer
from ofacore.training.optim.parameters import treatments
from ofacore.training.training_errors import RuleError
from tests.training.small import SmallModel


def set_gradients(optimizer, seed, scale=1.0, dtype=torch.float32):
    g = torch.Generator().manual_seed(seed)
    for name, parameter in optimizer.parameters.items():
        if not name.startswith("unused"):
            gradient = (torch.randn(parameter.shape, generator=g) * scale).to(dtype)
            (parameter * gradient.to(parameter.dtype)).sum().backward()


def test_adamw_equals_torch():
    config = OptimizerConfig(
        name="adamw", weight_decay=0.1, rules=(GroupRule(pattern=r"^second", lr=0.5),)
    )
    model, peer = SmallModel(), SmallModel()
    optimizer = RunOptimizer(model, config)
    names = dict(peer.named_parameters())

    def group(decay, factor, wanted):
        chosen = [p for n, p in names.items() if wanted(n, p)]
        return {"params": chosen, "lr": config.lr * factor, "weight_decay": decay}

    groups = [
        group(0.1, 1.0, lambda n, p: p.ndim > 1 and "second" not in n),
        group(0.0, 1.0, lambda n, p: p.ndim < 2 and "second" not in n),
        group(0.1, 0.5, lambda n, p: p.ndim > 1 and "second" in n),
        group(0.0, 0.5, lambda n, p: p.ndim < 2 and "second" in n),
    ]
    reference = torch.optim.AdamW(groups, betas=config.betas, eps=config.eps)
    for step in range(5):
        optimizer.zero_grad()
        set_gradients(optimizer, step)
        for name, parameter in names.items():
            gradient = optimizer.masters[name].grad
            parameter.grad = None if gradient is None else gradient.clone()
        optimizer.step(1.0)
        reference.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, names[name], atol=1e-6, rtol=1e-5)


def test_sgd_equals_torch():
    config = OptimizerConfig(name="sgd", lr=0.1, sgd_momentum=0.9, weight_decay=0.0)
    model, peer = SmallModel(), SmallModel()
    optimizer = RunOptimizer(model, config)
    names = dict(peer.named_parameters())
    reference = torch.optim.SGD(peer.parameters(), lr=0.05, momentum=0.9)
    for step in range(4):
        optimizer.zero_grad()
        set_gradients(optimizer, step)
        for name, parameter in names.items():
            gradient = optimizer.masters[name].grad
            parameter.grad = None if gradient is None else gradient.clone()
        optimizer.step(0.5)
        reference.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, names[name], atol=1e-6, rtol=1e-5)
    again = RunOptimizer(SmallModel(), config)
    again.load_state(optimizer.state())
    assert again.state().keys() == optimizer.state().keys()


@pytest.mark.parametrize("before", ["adamw", "muon", "sgd"])
@pytest.mark.parametrize("now", ["adamw", "muon", "sgd"])
def test_state_of_another_method_is_left_behind_and_told(before, now, caplog):
    first = RunOptimizer(SmallModel(), OptimizerConfig(name=before, sgd_momentum=0.9))
    second = RunOptimizer(SmallModel(), OptimizerConfig(name=now, sgd_momentum=0.9))
    set_gradients(first, 0)
    first.step(1.0)
    second.load_state(first.state(), first.structure())
    kept = {name.rpartition("|")[0] for name in second.state()}
    same = first.structure()["methods"].items() & second.structure()["methods"].items()
    with_state = {name.rpartition("|")[0] for name in first.state()}
    assert kept == with_state & {name for name, _ in same}
    assert ("another method" in caplog.text) == (before != now)
    set_gradients(second, 1)
    second.step(1.0)
    assert all(value.isfinite().all() for value in second.values().values())


def test_bf16_weights_follow_their_fp32_masters():
    config = OptimizerConfig(name="adamw", lr=1e-4)
    model, exact = SmallModel().bfloat16(), SmallModel().bfloat16().float()
    rounded, plain = RunOptimizer(model, config), RunOptimizer(exact, config)
    for step in range(20):
        for optimizer in (rounded, plain):
            optimizer.zero_grad()
            set_gradients(optimizer, step, dtype=torch.bfloat16)
            optimizer.step(1.0)
    for name, master in rounded.masters.items():
        torch.testing.assert_close(master, plain.masters[name], atol=1e-6, rtol=1e-5)
        assert torch.equal(dict(model.named_parameters())[name], master.bfloat16())


def test_bf16_gradients_of_micro_batches_are_added_in_fp32():
    model = nn.Linear(1, 1, bias=False).bfloat16()
    optimizer = RunOptimizer(model, OptimizerConfig(name="adamw"))
    for value in (256.0, 1.0, 1.0, 1.0):
        (model.weight * value).sum().backward()
    assert float(optimizer.masters["weight"].grad) == 259.0
    assert model.weight.grad is None


@pytest.mark.parametrize("shape", [(16, 16), (8, 24), (24, 8)])
def test_muon_follows_torch_up_to_its_bf16(shape):
    torch.manual_seed(0)
    mine, theirs = nn.Parameter(torch.randn(shape)), None
    theirs = nn.Parameter(mine.detach().clone())
    own = Muon([mine], lr=0.02, momentum=0.95, weight_decay=0.1)
    peer = torch.optim.Muon([theirs], lr=0.02, momentum=0.95, weight_decay=0.1)
    for _ in range(3):
        mine.grad = torch.randn(shape)
        theirs.grad = mine.grad.clone()
        own.step()
        peer.step()
    torch.testing.assert_close(mine, theirs, atol=2e-3, rtol=2e-2)


@pytest.mark.parametrize("shape", [(3, 16, 16), (5, 8, 32), (32, 8)])
def test_orthogonalised_singular_values_are_near_one(shape):
    torch.manual_seed(0)
    singular = torch.linalg.svdvals(orthogonalise(torch.randn(shape), torch.float32))
    assert float(singular.max()) < 1.3 and float(singular.median()) > 0.6


SHAPES = [(8, 8), (8, 12), (8, 32), (32, 8), (12, 8)]


def directions(shape):
    torch.manual_seed(0)
    return [torch.randn(shape) * 10.0**scale for scale in (-4, 0, 2)]


@pytest.mark.parametrize("shape", SHAPES)
def test_stacked_matrices_equal_single_ones(shape):
    given = directions(shape)
    for together, alone in zip(
        stacked(given, torch.float32), orthogonal_updates(given), strict=True
    ):
        assert together.shape == shape
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_in_either_format_the_update_is_the_same_up_to_rounding(shape):
    given = directions(shape)
    found = [
        torch.stack(orthogonal_updates(given, dtype)) for dtype in (torch.float32, torch.bfloat16)
    ]
    assert found[0].dtype == found[1].dtype == torch.float32 and not torch.equal(*found)
    torch.testing.assert_close(found[0], found[1], atol=0.1, rtol=0.0)


@pytest.mark.parametrize("format", [torch.float32, torch.bfloat16])
def test_muon_iterates_in_the_format_of_the_run_unless_another_is_asked_for(format):
    for asked, expected in (("auto", format), ("fp32", torch.float32), ("bf16", torch.bfloat16)):
        config = OptimizerConfig(name="muon", muon_precision=asked)
        first, *_ = RunOptimizer(SmallModel(), config, format).optimizers
        assert first.dtype == expected


def test_what_muon_computes_depends_on_its_setting_and_not_on_the_processor(monkeypatch):
    def updated(processor, precision):
        monkeypatch.setenv("OFA_BF16", processor)
        model = SmallModel()
        optimizer = RunOptimizer(model, OptimizerConfig(name="muon", muon_precision=precision))
        set_gradients(optimizer, 1)
        optimizer.step(1.0)
        return model.first.weight.detach().clone()

    exact, rounded = (updated("off", precision) for precision in ("fp32", "bf16"))
    assert torch.equal(updated("on", "auto"), exact)  # the model computes in fp32
    assert torch.equal(updated("on", "fp32"), exact) and torch.equal(updated("on", "bf16"), rounded)
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, atol=5e-3, rtol=0.0)


@pytest.mark.parametrize("shape", [(16, 32), (16, 64), (64, 16), (2, 16, 48)])
def test_iterating_on_the_gram_matrix_equals_iterating_on_the_whole(shape, monkeypatch):
    torch.manual_seed(0)
    low_rank = torch.randn(*shape[:-1], 3) @ torch.randn(
        *shape[:-2], 3, shape[-1]
    ) + 1e-3 * torch.randn(shape)
    for matrices in (torch.randn(shape), low_rank):
        small = orthogonalise(matrices, torch.float32)
        monkeypatch.setattr(muon, "GRAM_FROM", 10**9)
        whole = orthogonalise(matrices.double(), torch.float64)
        monkeypatch.undo()
        torch.testing.assert_close(small.double(), whole, atol=1e-4, rtol=0.0)


def test_muon_takes_hidden_matrices_only():
    methods = {n: t.method for n, t in treatments(SmallModel(), OptimizerConfig()).items()}
    assert {n for n, m in methods.items() if m == "muon"} == {
        "first.weight",
        "second.weight",
        "unused.weight",
    }


def test_muon_refuses_vectors():
    with pytest.raises(ValueError, match="matrices only"):
        Muon([nn.Parameter(torch.zeros(3))])


def test_no_decay_on_norms_and_biases():
    found = treatments(SmallModel(), OptimizerConfig(weight_decay=0.3))
    assert found["norm.weight"].weight_decay == found["first.bias"].weight_decay == 0.0
    assert found["first.weight"].weight_decay == 0.3


def test_rules_set_rate_and_decay_and_freeze():
    rules = (
        GroupRule(pattern=r"^first\.", freeze=True),
        GroupRule(pattern=r"second\.bias", lr=0.1, weight_decay=0.2),
        GroupRule(pattern=r"second", lr=7.0),
    )
    model = SmallModel()
    optimizer = RunOptimizer(model, OptimizerConfig(lr=1e-3, muon_lr=1e-2, rules=rules))
    assert not model.first.weight.requires_grad and "first.weight" not in optimizer.treatments
    bias = optimizer.treatments["second.bias"]
    assert (bias.lr, bias.weight_decay) == (pytest.approx(1e-4), 0.2)
    assert optimizer.treatments["second.weight"].lr == pytest.approx(7e-2)


@pytest.mark.parametrize(("pattern", "words"), [("encodr", "matches no parameter")])
def test_useless_rules_are_errors(pattern, words):
    config = OptimizerConfig(rules=(GroupRule(pattern="first"), GroupRule(pattern=pattern)))
    with pytest.raises(RuleError, match=rf"rules\[1\].pattern .*{words}"):
        treatments(SmallModel(), config)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_parameters_without_gradient_stay_as_they_are(name):
    model = SmallModel()
    optimizer = RunOptimizer(model, OptimizerConfig(name=name, weight_decay=0.5))
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    set_gradients(optimizer, 1)
    optimizer.step(1.0)
    for parameter_name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[parameter_name]) == parameter_name.startswith("unused")
    assert not any(key.startswith("unused") for key in optimizer.state())


def test_clipping_equals_torch():
    model, peer = SmallModel(), SmallModel()
    optimizer = RunOptimizer(model, OptimizerConfig(name="adamw", clip=0.7))
    set_gradients(optimizer, 1, scale=10.0)
    for (name, parameter), other in zip(model.named_parameters(), peer.parameters(), strict=True):
        other.grad = None if name.startswith("unused") else parameter.grad.clone()
    norm = float(optimizer.gradient_norm())
    assert norm == pytest.approx(float(nn.utils.clip_grad_norm_(peer.parameters(), 0.7)), rel=1e-5)
    optimizer.clip(norm)
    assert float(optimizer.gradient_norm()) == pytest.approx(0.7, rel=1e-4)


def test_small_gradients_are_not_clipped():
    optimizer = RunOptimizer(SmallModel(), OptimizerConfig(clip=1e6))
    set_gradients(optimizer, 1)
    norm = float(optimizer.gradient_norm())
    optimizer.clip(norm)
    assert float(optimizer.gradient_norm()) == norm


@pytest.mark.parametrize("name", ["adamw", "muon"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_state_round_trip_goes_on_bit_for_bit(name, dtype):
    def run(optimizer, steps):
        for step in steps:
            optimizer.zero_grad()
            set_gradients(optimizer, step)
            optimizer.step(0.5)

    straight = RunOptimizer(SmallModel().to(dtype), OptimizerConfig(name=name))
    run(straight, range(6))
    model = SmallModel().to(dtype)
    first = RunOptimizer(model, OptimizerConfig(name=name))
    run(first, range(3))
    copied = SmallModel().to(dtype)
    copied.load_state_dict(model.state_dict())
    second = RunOptimizer(copied, OptimizerConfig(name=name))
    second.load_state(first.state())
    run(second, range(3, 6))
    assert all(torch.equal(straight.masters[n], m) for n, m in second.masters.items())
