"""Products by oneDNN equal torch's own, and are used only where they may be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ofacore.parallel import products
from ofacore.parallel.products import (
    FEW,
    LARGE,
    LONG,
    SEEN,
    Blocked,
    can_be_blocked,
    linear,
    project_into,
    projected,
)

INPUTS = 96


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def weight() -> Tensor:
    """Large enough to be laid out, long enough for oneDNN as it is."""
    found = drawn(max(LONG, LARGE // INPUTS) + 5, INPUTS, seed=1)
    assert can_be_blocked(found)
    return found


@pytest.mark.parametrize("rows", [1, 7, FEW, FEW + 1])
def test_linear_with_blocks_is_linear(weight: Tensor, rows: int) -> None:
    x, bias = drawn(rows, INPUTS), drawn(len(weight), seed=2)
    expected = functional.linear(x, weight, bias)
    weight.blocked = Blocked()  # type: ignore[attr-defined]
    with torch.no_grad():
        for _ in range(SEEN + 2):
            torch.testing.assert_close(linear(x, weight, bias), expected, atol=1e-4, rtol=1e-5)
    assert (weight.blocked._blocks is not None) == (rows <= FEW)  # type: ignore[attr-defined]


def test_further_dimensions_stay(weight: Tensor) -> None:
    x = drawn(4, 2, INPUTS)
    weight.blocked = Blocked()  # type: ignore[attr-defined]
    with torch.no_grad():
        found = [linear(x, weight) for _ in range(SEEN)][-1]
    torch.testing.assert_close(found, functional.linear(x, weight), atol=1e-4, rtol=1e-5)


def test_a_weight_is_laid_out_once_it_has_seen_enough(weight: Tensor) -> None:
    blocked = Blocked()
    with torch.no_grad():
        found = [blocked.linear(drawn(8, INPUTS), weight, None) for _ in range(SEEN // 8 + 1)]
    assert [one is None for one in found] == [True] * (SEEN // 8) + [False]


def test_gradients_flow_through_a_weight_with_blocks(weight: Tensor) -> None:
    parameter, x = nn.Parameter(weight), drawn(3, INPUTS)
    parameter.blocked = Blocked()  # type: ignore[attr-defined]
    with torch.no_grad():
        for _ in range(SEEN):
            linear(x, parameter)
    linear(x, parameter).sum().backward()
    torch.testing.assert_close(parameter.grad, x.sum(0).expand_as(weight))


@pytest.mark.parametrize("rows", [0, 1, 8, 200])
def test_projections_are_products(weight: Tensor, rows: int) -> None:
    hidden = drawn(rows, INPUTS)
    expected = hidden @ weight.T
    out = torch.empty_like(expected)
    with torch.no_grad():
        torch.testing.assert_close(projected(hidden, weight), expected, atol=1e-4, rtol=1e-5)
        project_into(out, hidden, weight)
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-5)


def test_a_projection_is_differentiable(weight: Tensor) -> None:
    hidden = drawn(2, INPUTS).requires_grad_()
    projected(hidden, weight).sum().backward()
    torch.testing.assert_close(hidden.grad, weight.sum(0).expand(2, -1), atol=1e-3, rtol=1e-5)


def test_other_numbers_and_machines_take_torch(
    weight: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> Tensor:
        raise AssertionError("oneDNN was called")

    monkeypatch.setattr(products, "_onednn", never)
    hidden = drawn(8, INPUTS)
    with torch.no_grad():
        assert projected(hidden.bfloat16(), weight.bfloat16()).dtype == torch.bfloat16
        assert not can_be_blocked(weight.bfloat16())
        monkeypatch.setattr(products, "_available", lambda: False)
        torch.testing.assert_close(projected(hidden, weight), hidden @ weight.T)
        assert not can_be_blocked(weight)
