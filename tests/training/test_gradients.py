"""Equal gradients however a step is split, and what happens to faults."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofacore.config.train_section import FaultConfig, OptimizerConfig, TrainConfig
from ofacore.training.gradients import GradientPass
from ofacore.training.optim.optimizer import RunOptimizer
from ofacore.training.step.faults import FaultCounters
from ofacore.training.training_errors import FaultLimitError, NonFiniteError, OutOfMemoryError
from tests.training.small import Sample, SmallModel, make_samples, step_of, whole


def gradient(model, step, faults=None, loss_weights=None, seed=1, by_samples=False):
    faults = faults or FaultConfig()
    optimizer = RunOptimizer(model, OptimizerConfig(name="adamw"))
    counters = FaultCounters(faults)
    passing = GradientPass(model, optimizer, faults, counters, seed, loss_weights or {})
    passing.by_samples = by_samples
    result = passing.run(step)
    grads = {n: None if m.grad is None else m.grad.clone() for n, m in optimizer.masters.items()}
    return grads, result, counters


def assert_equal_gradients(left, right, tolerance=1e-6):
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert (value is None) == (right[name] is None), name
        if value is not None:
            torch.testing.assert_close(value, right[name], atol=tolerance, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 11), max_size=6), st.permutations(list(range(12))))
def test_any_split_and_order_gives_the_same_gradient(cuts, order):
    samples = make_samples(12, seed=3, tasks=("a", "b", "c"))
    whole, report, _ = gradient(SmallModel(), step_of(samples), loss_weights={"b": 2.5})
    split, other, _ = gradient(
        SmallModel(), step_of([samples[i] for i in order], cuts), loss_weights={"b": 2.5}
    )
    assert_equal_gradients(whole, split)
    assert report.values == pytest.approx(other.values, rel=1e-5)


def test_any_seed_of_a_configuration_can_be_trained_with():
    for seed in (0, 2**32, TrainConfig.model_json_schema()["properties"]["seed"]["maximum"]):
        _, result, _ = gradient(SmallModel(), step_of(make_samples(2, seed=3)), seed=seed)
        assert result.norm > 0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9), max_size=4), st.integers(1, 9))
def test_by_samples_a_task_counts_by_its_share_of_the_step(cuts, first):
    samples = make_samples(10, seed=7)
    samples = [replace(each, task="ab"[place >= first]) for place, each in enumerate(samples)]
    numbers = {"a": first, "b": 10 - first}
    step = replace(step_of(samples, cuts), samples={**numbers, "none": 0})
    own = {"a": 2.0}
    found, report, _ = gradient(SmallModel(), step, loss_weights=own, by_samples=True)
    shares = {"a": 2.0 * numbers["a"] / 5, "b": numbers["b"] / 5}
    wanted, plain, _ = gradient(SmallModel(), step_of(samples), loss_weights=shares)
    assert_equal_gradients(found, wanted)
    assert report.values == pytest.approx(plain.values, rel=1e-5), "losses are reported as before"


def test_total_is_the_weighted_sum_of_means_per_task():
    samples, model = make_samples(6, seed=5), SmallModel()
    grads, _, _ = gradient(model, step_of(samples, (2,)), loss_weights={"b": 3.0})
    model.zero_grad()
    means = {}
    for task in ("a", "b"):
        mine = [s for s in samples if s.task == task]
        x = torch.cat([s.features for s in mine])
        hidden = model.second(model.norm(torch.relu(model.first(x + model.embedding.weight[0]))))
        means[task] = (
            (model.heads["score"](hidden) - torch.cat([s.labels for s in mine])).square().mean()
        )
    (means["a"] + 3.0 * means["b"]).backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(grads[name], parameter.grad, atol=1e-6, rtol=1e-5)


def test_report_names_terms_and_parts():
    _, result, _ = gradient(SmallModel(), step_of(make_samples(4, seed=1)))
    assert set(result.values) == {"train/a/y", "train/b/y", "train/a/y/size", "train/b/y/size"}
    assert result.values["train/a/y"] == pytest.approx(result.values["train/a/y/size"])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 9), max_size=5))
def test_step_wide_loss_equals_one_big_batch(cuts):
    samples = make_samples(10, seed=7, tasks=("m",), scope="contrast")
    whole, _, _ = gradient(SmallModel(), step_of(samples))
    split, _, _ = gradient(SmallModel(), step_of(samples, cuts))
    assert whole["criteria.contrast.scale"] is not None
    assert_equal_gradients(whole, split)


def test_step_wide_and_ordinary_terms_share_a_step_with_dropout_repeated():
    mixed = make_samples(4, seed=7, tasks=("m",), scope="contrast") + make_samples(4, seed=8)
    first, _, _ = gradient(SmallModel(dropout=0.5), step_of(mixed, (3, 6)))
    again, _, _ = gradient(SmallModel(dropout=0.5), step_of(mixed, (3, 6)))
    other, _, _ = gradient(SmallModel(dropout=0.5), step_of(mixed, (3, 6)), seed=2)
    assert_equal_gradients(first, again, 0.0)
    assert not torch.equal(first["first.weight"], other["first.weight"])


@pytest.mark.parametrize("scope", ["squared", "contrast"])
def test_a_micro_batch_whose_losses_train_nothing_is_left_alone(scope):
    """All layers that it goes through are frozen; others of the step are trained."""

    def frozen() -> SmallModel:
        model = SmallModel().requires_grad_(False)
        model.heads["score" if scope == "contrast" else "vector"].requires_grad_(True)
        return model

    other = "squared" if scope == "contrast" else "contrast"
    still = make_samples(4, seed=7, tasks=("m",), scope=scope)
    mixed = [*still, *make_samples(4, seed=8, scope=other)]
    whole, report, _ = gradient(frozen(), step_of(mixed))
    split, again, _ = gradient(frozen(), step_of(mixed, (4,)))
    assert_equal_gradients(whole, split)
    assert report.norm > 0 and report.values == pytest.approx(again.values, rel=1e-5)


def test_step_wide_gradient_is_right_by_finite_differences():
    samples = make_samples(6, seed=9, tasks=("m",), scope="contrast")
    model = SmallModel()
    grads, _, _ = gradient(model, step_of(samples, (2, 3)))
    values = []
    for shift in (-1e-2, 1e-2):
        moved = SmallModel()
        with torch.no_grad():
            moved.second.bias[0] += shift
        values.append(gradient(moved, step_of(samples))[1].values["train/m/y"])
    assert float(grads["second.bias"][0]) == pytest.approx((values[1] - values[0]) / 2e-2, abs=2e-3)


def poisoned(
    samples: list[Sample], place: int, value: float = float("nan"), labels: bool = True
) -> list[Sample]:
    bad = samples[place]
    wrong = torch.full_like(bad.labels if labels else bad.features, value)
    kept = (bad.features, wrong) if labels else (wrong, bad.labels)
    return [*samples[:place], Sample(bad.task, bad.row_id, *kept, bad.scope), *samples[place + 1 :]]


def test_nan_loss_is_traced_and_left_out():
    samples = make_samples(6, seed=1)
    step = step_of(poisoned(samples, 4), (3,))
    grads, result, counters = gradient(SmallModel(), step)
    assert all(g is None or bool(g.isfinite().all()) for g in grads.values())
    assert [(f.kind, f.task, f.row_id) for f in result.faults] == [("nan", "a", "rows[4]")]
    assert counters.totals == {"nan": 1} and counters.by_task == {"nan/a": 1}
    good = [s for i, s in enumerate(samples) if i != 4]
    reference = step_of(good)
    reference.counts.update(step.counts)
    assert_equal_gradients(gradient(SmallModel(), reference)[0], grads)


@pytest.mark.parametrize("can_split", [True, False])
def test_nan_input_that_poisons_gradients_is_narrowed_down(can_split):
    samples = make_samples(7, seed=1)
    step = step_of(poisoned(samples, 5, labels=False), (4,))
    grads, result, _ = gradient(SmallModel(), step if can_split else whole(step))
    dropped = {5} if can_split else {4, 5, 6}
    assert {f.row_id for f in result.faults} == {f"rows[{i}]" for i in dropped}
    reference = step_of([s for i, s in enumerate(samples) if i not in dropped])
    reference.counts.update(step.counts)
    assert_equal_gradients(gradient(SmallModel(), reference)[0], grads)


def test_nan_policy_raise_names_task_and_row():
    step = step_of(poisoned(make_samples(4, seed=1), 3))
    with pytest.raises(
        NonFiniteError, match=r"step 0: the loss .* task 'b' row rows\[3\].*train.faults.nan=skip"
    ):
        gradient(SmallModel(), step, faults=FaultConfig(nan="raise"))


def test_nan_limit():
    samples = poisoned(poisoned(make_samples(4, seed=1), 3), 1)
    with pytest.raises(FaultLimitError, match="train.faults.nan_limit=1"):
        gradient(SmallModel(), step_of(samples), faults=FaultConfig(nan_limit=1))


def test_model_full_of_nan_ends_in_an_error_rather_than_in_silence():
    model = SmallModel()
    with torch.no_grad():
        model.second.weight.fill_(float("nan"))
    with pytest.raises(FaultLimitError):
        gradient(
            model, step_of(make_samples(16, seed=1), (4, 8, 12)), faults=FaultConfig(nan_limit=5)
        )


def memory_for(positions):
    def check(batch):
        if batch.source.layout.positions > positions:
            raise RuntimeError(
                "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
            )

    return check


def test_out_of_memory_halves_until_it_fits():
    samples, model = make_samples(8, seed=2), SmallModel()
    reference = gradient(SmallModel(), step_of(samples))[0]
    model.fail_on = memory_for(8)
    grads, result, counters = gradient(model, step_of(samples, (1,)))
    assert_equal_gradients(reference, grads)
    assert counters.totals["out_of_memory"] == len(result.faults) >= 1


@pytest.mark.parametrize(
    ("can_split", "policy"), [(False, "split"), (True, "split"), (True, "raise")]
)
def test_out_of_memory_without_a_way_out_names_the_rows(can_split, policy):
    model, step = SmallModel(), step_of(make_samples(3, seed=2))
    model.fail_on = memory_for(0)
    with pytest.raises(OutOfMemoryError, match="train.micro_batch_positions"):
        gradient(model, step if can_split else whole(step), FaultConfig(out_of_memory=policy))


def test_other_errors_of_the_model_pass_unchanged():
    model = SmallModel()

    def fail(_):
        raise RuntimeError("shapes do not fit")

    model.fail_on = fail
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        gradient(model, step_of(make_samples(3, seed=2)))
