"""Aggregators on problems whose answer is known, and in the training of a tiny model."""

from __future__ import annotations

import copy
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from ofa_aggregators_torchjd.losses import Famo, Progress, Uncertainty
from ofacore import Generalist, Task
from ofacore.config.train_section import TrainConfig
from ofacore.plugin import Registry, UserError
from ofacore.protocols import AggregatorContext
from ofacore.training.step.aggregation import run_aggregator

PLUGIN = "ofa_aggregators_torchjd.manifest:MANIFEST"
BY_GRADIENTS = ("upgrad", "mgda", "pcgrad", "gradnorm")
BY_LOSSES = ("famo", "uncertainty", "progress")
SOLVERS = {"cagrad": ("cvxpy", "clarabel"), "nash_mtl": ("cvxpy", "ecos")}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def made(registry, name, **options):
    return registry.make("aggregator", name, options)


def merged(aggregator, *gradients, losses=None, step=0, own=False) -> torch.Tensor:
    """The gradient of one shared parameter from those of tasks t0, t1, ..."""
    tasks = {f"t{i}": {"w": torch.tensor(g, dtype=torch.float32)} for i, g in enumerate(gradients)}
    if own:
        tasks["t0"]["alone"] = torch.tensor([7.0])
    losses = losses or dict.fromkeys(tasks, 1.0)
    ctx = AggregatorContext(step, np.random.default_rng(step), {"w": torch.zeros(3)})
    found = aggregator(losses, tasks, ctx)
    if own:
        assert found["alone"].tolist() == [7.0], "what one task has alone knows no conflict"
    return found["w"]


def along(found: torch.Tensor, direction) -> bool:
    wanted = torch.tensor(direction, dtype=torch.float32)
    return torch.allclose(found / found.norm(), wanted / wanted.norm(), atol=2e-3)


def test_upgrad_gives_what_its_authors_print(registry):
    """The example of torchjd's documentation."""
    found = merged(made(registry, "upgrad"), [-4.0, 1.0, 1.0], [6.0, 1.0, 1.0], own=True)
    assert along(found, [0.2929, 1.9004, 1.9004])


def test_upgrad_harms_no_task(registry):
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = rng.normal(size=(4, 6)).tolist()
        found = merged(made(registry, "upgrad"), *rows)
        assert float((torch.tensor(rows) @ found).min()) > -1e-4


def test_mgda_gives_the_shortest_gradient_between_two(registry):
    """min over a of |a (1, 0) + (1 - a) (-1, 1)| lies at a = 3/5: (1/5, 2/5), twice that for two tasks."""
    found = merged(made(registry, "mgda"), [1.0, 0.0], [-1.0, 1.0], own=True)
    torch.testing.assert_close(found, torch.tensor([0.4, 0.8]), atol=1e-3, rtol=0)


def test_pcgrad_takes_the_conflict_away(registry):
    found = merged(made(registry, "pcgrad"), [1.0, 0.0], [-1.0, 1.0], own=True)
    assert along(found, [0.5, 1.5])


@pytest.mark.parametrize("name", ["upgrad", "pcgrad"])
def test_without_conflict_it_is_the_sum(registry, name):
    found = merged(made(registry, name), [2.0, 0.0, 0.0], [0.0, 0.5, 0.0], own=True)
    torch.testing.assert_close(found, torch.tensor([2.0, 0.5, 0.0]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", BY_GRADIENTS)
def test_a_step_of_one_task_has_its_gradient(registry, name):
    found = merged(made(registry, name), [3.0, -4.0])
    torch.testing.assert_close(found, torch.tensor([3.0, -4.0]))


@pytest.mark.parametrize("name", BY_GRADIENTS)
@pytest.mark.parametrize("third", ["zeros", "nothing shared"])
def test_a_task_without_a_part_in_what_is_shared_takes_none_from_the_others(registry, name, third):
    """The shortest gradient between those of three tasks is no gradient, where that of one is zero."""
    tasks = {"a": {"w": torch.tensor([1.0, 0.0])}, "b": {"w": torch.tensor([0.0, 1.0])}}
    tasks["c"] = {"w": torch.zeros(2)} if third == "zeros" else {"own": torch.tensor([7.0])}
    ctx = AggregatorContext(0, np.random.default_rng(0), {})
    found = made(registry, name)(dict.fromkeys(tasks, 1.0), tasks, ctx)
    torch.testing.assert_close(found["w"], torch.tensor([1.0, 1.0]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", BY_GRADIENTS)
def test_two_convex_losses_are_led_between_their_minima(registry, name):
    """100 (x - 1)^2 and (x + 1)^2: every point between -1 and 1 is as good as can be."""
    aggregator, x = made(registry, name), 3.0
    for step in range(300):
        losses = {"t0": 100 * (x - 1) ** 2, "t1": (x + 1) ** 2}
        gradient = merged(aggregator, [200 * (x - 1)], [2 * (x + 1)], losses=losses, step=step)
        x -= 0.004 * float(gradient)
    assert -1.01 < x < 1.01


def test_gradnorm_makes_norms_equal_and_longer_for_what_has_learned_less(registry):
    found = merged(made(registry, "gradnorm"), [8.0, 0.0], [0.0, 0.5], own=True)
    assert [float(each) for each in found] == pytest.approx([(8.0 + 0.5) / 2] * 2)
    aggregator = made(registry, "gradnorm", alpha=1.0)
    merged(aggregator, [8.0, 0.0], [0.0, 0.5], losses={"t0": 1.0, "t1": 2.0})
    found = merged(aggregator, [8.0, 0.0], [0.0, 0.5], losses={"t0": 0.3, "t1": 1.8})
    assert float(found[1] / found[0]) == pytest.approx((1.8 / 2) / 0.3)


def test_uncertainty_finds_the_weights_of_constant_losses():
    """exp(-s) L + s is least at s = log L, so weights are as 1 / L."""
    weighing = Uncertainty({"rate": 0.05, "limit": 3.0})
    for _ in range(2000):
        weighing.learn({"a": 4.0, "b": 1.0, "c": 0.5})
    found = weighing.weights(["a", "b", "c"])
    assert found["b"] / found["a"] == pytest.approx(4.0, rel=0.02)
    assert found["c"] / found["b"] == pytest.approx(2.0, rel=0.02)
    assert sum(found.values()) == pytest.approx(3.0)


def test_famo_and_progress_favour_the_task_that_falls_behind():
    for weighing in (Famo({"rate": 0.5, "decay": 0.0}), Progress({"temperature": 0.5, "span": 5})):
        assert weighing.weights(["slow", "fast"]) == {"slow": 1.0, "fast": 1.0}
        for step in range(30):
            weighing.learn({"slow": 1.0 - 0.001 * step, "fast": 0.8**step})
        shares = weighing.weights(["slow", "fast"])
        weight = {"slow": 1.0 * shares["slow"], "fast": 0.8**29 * shares["fast"]}
        assert weight["slow"] > weight["fast"], "of the loss as it is"
        assert sum(shares.values()) == pytest.approx(2.0)


def test_famo_weighs_losses_that_stand_still_by_their_size():
    """Nothing learns faster than another, so logits are equal, and every loss counts as much as the others."""
    weighing = Famo({"rate": 0.1, "decay": 0.001})
    for _ in range(10):
        weighing.learn({"a": 2.0, "b": 0.5})
    found = weighing.weights(["a", "b"])
    assert found["a"] * 2.0 == pytest.approx(found["b"] * 0.5)


@pytest.mark.parametrize("name", SOLVERS)
def test_one_whose_solver_is_missing_says_what_to_install(registry, name):
    lacking = [package for package in SOLVERS[name] if find_spec(package) is None]
    if not lacking:
        pytest.skip("its solver is installed")
    with pytest.raises(UserError, match=f"'{name}' needs {lacking[0]}.*pip install"):
        made(registry, name)


@pytest.mark.parametrize("name", SOLVERS)
def test_one_with_a_solver_is_led_to_less_conflict(registry, name):
    if any(find_spec(package) is None for package in SOLVERS[name]):
        pytest.skip(f"needs {' and '.join(SOLVERS[name])}")
    rows = torch.tensor([[1.0, 0.0], [-0.9, 0.4]])
    found = merged(made(registry, name), *rows.tolist())
    assert float((rows @ found).min()) > float((rows @ rows.sum(0)).min())


WORDS = ["red", "green", "blue", "cat"]
ROWS = [{"a": f"{x} {y}", "b": f"{y} {x}"} for x in WORDS for y in WORDS]
TASKS = {"turn": "turn [TEXT:a] -> [TEXT:b]", "copy": "copy [TEXT:b] -> [TEXT:a]"}
SIZES = {"hidden": 16, "ffn": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}


@pytest.fixture(scope="module")
def begun(registry) -> Generalist:
    """A model that every test trains a copy of."""
    tasks = [Task(name, line, train=ROWS) for name, line in TASKS.items()]
    return Generalist.create(tasks, registry=registry, dropout=0.0, **SIZES)


def trained(model, folder, aggregator, steps, **more) -> dict[str, torch.Tensor]:
    model = copy.deepcopy(model)
    train = {"samples": 8, "precision": "fp32", "lr": {"name": "constant"}, "trackers": ()}
    model.fit(steps=steps, out=folder, aggregator=aggregator, **train, **more)
    return {name: value.clone() for name, value in model.model.portable_state().items()}


@pytest.fixture(scope="module")
def plain(begun, tmp_path_factory) -> dict[str, torch.Tensor]:
    return trained(begun, tmp_path_factory.mktemp("plain"), "sum", 3)


@pytest.mark.parametrize("name", (*BY_GRADIENTS, *BY_LOSSES))
def test_it_trains_a_model_otherwise_than_the_sum(begun, plain, tmp_path, name):
    found = trained(begun, tmp_path, name, 3)
    assert all(bool(value.isfinite().all()) for value in found.values())
    assert any(not torch.equal(found[key], plain[key]) for key in plain)


@pytest.mark.parametrize("name", ["gradnorm", "famo"])
def test_what_it_learned_goes_on_from_a_checkpoint(registry, begun, tmp_path, name):
    straight = trained(begun, tmp_path / "straight", name, 3)
    trained(begun, tmp_path / "cut", name, 2)
    again = Generalist.from_pretrained(tmp_path / "cut", registry=registry)
    rows = dict.fromkeys(TASKS, ROWS)
    resumed = trained(again, tmp_path / "cut", name, 3, resume=True, data=rows)
    assert all(torch.equal(resumed[key], straight[key]) for key in straight)


@pytest.mark.parametrize("name", ["uncertainty", "gradnorm", "sum"])
def test_a_run_may_go_on_with_another(registry, begun, tmp_path, name, caplog):
    trained(begun, tmp_path, "famo", 1)
    again = Generalist.from_pretrained(tmp_path, registry=registry)
    found = trained(again, tmp_path, name, 2, resume=True, data=dict.fromkeys(TASKS, ROWS))
    assert all(bool(value.isfinite().all()) for value in found.values())
    assert ("until now 'famo'" in caplog.text) == (name != "sum")


@pytest.mark.parametrize("name", BY_LOSSES)
def test_what_is_being_saved_is_not_changed_by_the_next_step(registry, name):
    config = TrainConfig(aggregator=name)
    aggregator = run_aggregator(config, registry)
    aggregator.learn(0, {"a": 1.0, "b": 2.0})
    saved = aggregator.state()
    before = copy.deepcopy(saved)
    aggregator.learn(1, {"a": 0.5, "b": 4.0, "c": 1.0})
    assert saved == before


def test_upgrad_is_found_for_many_gradients_of_very_unequal_length(registry):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        lengths = np.exp(6 * rng.standard_normal((29, 1)))
        rows = rng.standard_normal((29, int(rng.integers(1, 60)))) * lengths
        found = merged(made(registry, "upgrad"), *rows.tolist())
        assert bool(found.isfinite().all())
