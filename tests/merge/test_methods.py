"""Methods of merging, worked by hand on tensors of a few numbers."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_merge.combining import Combination
from ofa_merge.magnitudes import smallest_kept
from ofa_merge.method import Shared
from ofa_merge.methods import METHODS, method_of, with_defaults
from ofa_merge.weighing import check_weights, search_weights
from ofacore.plugin import UserError

BASE = torch.tensor([1.0, 1.0, 1.0, 1.0])
ONE = BASE + torch.tensor([0.4, -0.2, 0.1, 0.0])
TWO = BASE + torch.tensor([0.2, 0.6, -0.3, 0.0])


def merged(name: str, weights: tuple[float, ...] = (1.0, 1.0), values=(ONE, TWO), **options):
    method = METHODS[name]
    settings = with_defaults(method, options)
    runs = tuple(range(len(values)))
    prepared = ()
    if method.prepare:
        prepared = method.prepare(lambda run: [values[run] - BASE], len(values), settings)
    return method.merge(Shared("w", values, weights, runs, settings, BASE, prepared))


def close(found: torch.Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=0)


def test_mean_is_weighted_and_keeps_what_is_equal():
    close(merged("mean", (1.0, 3.0)), [1.25, 1.4, 0.8, 1.0])
    third = torch.tensor([1 / 3, 0.1])
    assert merged("mean", (0.1, 0.7), (third, third.clone())).equal(third)


def test_task_arithmetic_adds_what_was_learned():
    close(merged("task-arithmetic", (0.5, 1.0)), [1.4, 1.5, 0.75, 1.0])
    close(merged("task-arithmetic", (-1.0, 0.0)), [0.6, 1.2, 0.9, 1.0])


def test_ties_trims_elects_and_takes_the_mean_of_what_agrees():
    # Half of each vector: (0.4, -0.2) and (0.6, -0.3). Sums: 0.4, 0.4, -0.3.
    close(merged("ties", density=0.5), [1.4, 1.6, 0.7, 1.0])
    # All of it: 0.4 and 0.2 agree; 0.6 wins over -0.2; -0.3 over 0.1.
    close(merged("ties", density=1.0, scale=2.0), [1.6, 2.2, 0.4, 1.0])
    # The first run weighs four times: its signs win, and means are weighted.
    close(merged("ties", (4.0, 1.0), density=1.0), [1.36, 0.8, 1.1, 1.0])


def test_dare_drops_and_makes_up_for_it():
    size = 20_000
    start, end = torch.zeros(size), torch.ones(size)
    method = METHODS["dare"]

    def drawn(seed: int) -> torch.Tensor:
        settings = with_defaults(method, {"drop": 0.75, "seed": seed})
        return method.merge(Shared("w", (end, end), (1.0, 0.5), (0, 1), settings, start))

    found = drawn(1)
    assert set(found.tolist()) == {0.0, 2.0, 4.0, 6.0}
    assert float(found.mean()) == pytest.approx(1.5, abs=0.05)
    assert drawn(1).equal(found) and not drawn(2).equal(found)
    close(merged("dare", (0.5, 1.0), drop=0.0), [1.4, 1.5, 0.75, 1.0])


def test_breadcrumbs_leaves_both_tails_out():
    close(merged("breadcrumbs", lowest=0.5, highest=0.25), [1.0, 0.8, 0.7, 1.0])
    close(merged("breadcrumbs", lowest=0.0, highest=0.0), [1.6, 1.4, 0.8, 1.0])
    with pytest.raises(UserError, match="lowest=0.9 and highest=0.1 leave nothing"):
        merged("breadcrumbs", lowest=0.9, highest=0.1)


def test_tall_masks_keep_what_matters_to_several():
    # Sums 0.6, 0.4, -0.2. To run one matters where |tau_1| >= 0.5 |tau_2|: 0.4 >= 0.1 only; to two everything.
    close(merged("tall-masks", threshold=0.5), [1.6, 1.0, 1.0, 1.0])
    close(merged("tall-masks", threshold=0.5, agree=1), [1.6, 1.4, 0.8, 1.0])


def test_what_matters_goes_by_the_ratio_of_weights():
    """``|tau_t| >= 0.5 |sum of the others|``, as the paper has it, whatever the sum is multiplied by."""
    alike, against = BASE + torch.tensor([1.0, 1.0, 0, 0]), BASE + torch.tensor([1.0, -3.0, 0, 0])
    for scale in (0.1, 0.4, 1.0, 3.0):
        found = merged("tall-masks", (scale, scale), (alike, against), threshold=0.5)
        close((found - BASE) / scale, [2.0, 0.0, 0.0, 0.0])
    close(merged("tall-masks", (3.0, 1.0), (alike, against), threshold=0.5), [1.0, 1.0, 1.0, 1.0])


def test_slerp_goes_along_the_arc():
    east, north = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    half = merged("slerp", (1.0, 1.0), (east, north))
    close(half, [math.sqrt(2), math.sqrt(2)])
    third = merged("slerp", (2.0, 1.0), (east, north))
    close(third, [2 * math.cos(math.pi / 6), 2 * math.sin(math.pi / 6)])
    close(merged("slerp", (1.0, 3.0), (east, 2 * east)), [3.5, 0.0])
    close(merged("slerp", (1.0, 1.0), (east, 0 * east)), [1.0, 0.0])
    assert merged("slerp", (1.0, 0.0), (east, north)).equal(east)


@pytest.mark.parametrize("method", ["mean", "slerp"])
def test_statistics_of_data_are_averaged_by_the_shares_of_the_runs(method):
    name = "norm.running_mean"
    runs = [SimpleNamespace(weights={name: torch.tensor([value])}) for value in (1.0, 5.0)]
    combination = Combination(runs, METHODS[method], {}, None)
    assert combination.tensor(name, lambda _: (1.0, 0.0)).tolist() == [1.0]
    assert combination.tensor(name, lambda _: (3.0, 1.0)).tolist() == [2.0]
    summed = Combination(runs, METHODS["task-arithmetic"], {}, {})
    assert summed.tensor(name, lambda _: (0.4, 0.9)).tolist() == [3.0]


@settings(max_examples=30)
@given(
    st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=40),
    st.integers(1, 40),
    st.integers(1, 39),
)
def test_the_smallest_kept_magnitude_is_exact(numbers, kept, cut):
    kept = min(kept, len(numbers))
    whole = torch.tensor(numbers)
    found = smallest_kept(lambda: [whole[:cut], whole[cut:]], kept / len(numbers) - 1e-9)
    assert found == float(whole.abs().sort(descending=True).values[kept - 1])


def test_search_finds_the_best_of_the_grid_and_never_asks_twice():
    asked: list[tuple[float, ...]] = []

    def objective(weights):
        asked.append(weights)
        return (weights[0] - 0.6) ** 2 + (weights[1] - 0.2) ** 2

    found = search_weights(objective, (1.0, 1.0), shares=False)
    assert found.weights == (0.6, 0.2) and found.begun == pytest.approx(0.8)
    assert len(asked) == len(set(asked)) == found.tried
    shares = search_weights(lambda w: abs(w[0] / sum(w) - 0.25), (1.0, 1.0), shares=True)
    assert shares.weights[0] / sum(shares.weights) == pytest.approx(0.25, abs=0.06)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: method_of("tie"), "no method 'tie'; did you mean 'ties'"),
        (lambda: with_defaults(METHODS["ties"], {"densty": 1}), "did you mean 'density'"),
        (lambda: with_defaults(METHODS["mean"], {"drop": 1}), "it has none"),
        (lambda: with_defaults(METHODS["dare"], {"drop": 1.5}), "expected 0 to 0.999"),
        (lambda: check_weights((1.0,), ("a", "b"), METHODS["ties"]), "1 weight for 2 runs"),
        (lambda: check_weights((-1.0, 2.0), ("a", "b"), METHODS["mean"]), "none below zero"),
        (lambda: check_weights((math.inf, 2.0), ("a", "b"), METHODS["ties"]), "finite"),
    ],
)
def test_mistakes_are_named(call, told):
    with pytest.raises(UserError, match=told):
        call()
