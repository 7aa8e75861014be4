"""Rounding that loses nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ofacore.training.optim.rounding import RoundedTensor, RoundedWeights, joined, split


def patterns(count: int = 200_000) -> Tensor:
    """fp32 numbers of all bit patterns: random ones, every halfway case, the ends; without those that are none."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(-(2**31), 2**31, (count,), generator=generator)
    halfway = (torch.arange(-(2**15), 2**15) << 16) + 0x8000
    ends = torch.tensor([0, -(2**31), 0x7F800000, 0x7F7FFFFF, 1, 0x007FFFFF])
    values = torch.cat([drawn, halfway, ends]).to(torch.int32).view(torch.float32)
    return values[~values.isnan()]


@pytest.mark.parametrize("flush", [False, True])
def test_every_number_comes_back_bit_for_bit(flush: bool) -> None:
    exact = patterns()
    torch.set_flush_denormal(flush)
    back = joined(*split(exact))
    assert torch.equal(back.view(torch.int32), exact.view(torch.int32))


def test_the_rounded_number_is_the_nearest() -> None:
    exact = patterns()
    exact = exact[exact.abs() < 3e38].double()
    rounded, nearest = split(exact.float())[0].double(), exact.float().bfloat16().double()
    assert torch.equal((rounded - exact).abs(), (nearest - exact).abs())


def test_what_changed_rounds_to_what_it_became() -> None:
    exact = patterns()
    exact = exact[exact.abs() < 3e38]
    rounded, missing = split(exact)
    others = rounded[torch.randperm(len(rounded), generator=torch.Generator().manual_seed(2))]
    others[:1000], missing[:1000] = 0.0, -5
    assert torch.equal(split(joined(others, missing))[0], others)


def test_not_a_number_stays_none() -> None:
    rounded, missing = split(torch.tensor([float("nan"), 1.0]))
    assert rounded.isnan().tolist() == joined(rounded, missing).isnan().tolist() == [True, False]


def test_a_tensor_takes_as_much_memory_as_before() -> None:
    tensor = nn.Parameter(torch.randn(64, 64))
    before = tensor.detach().clone()
    rounded = RoundedTensor(tensor, torch.bfloat16)
    held = [tensor, rounded._missing]
    assert (
        sum(each.numel() * each.element_size() for each in held if each is not None) == 4 * 64 * 64
    )
    rounded.restore()
    assert torch.equal(tensor, before) and rounded._missing is None
    plain = RoundedTensor(torch.ones(5), torch.bfloat16)
    assert plain._missing is None, "nothing is kept where nothing was lost"


def test_what_changes_while_exact_values_stand_is_rounded_anew() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    masters = {"0.weight": torch.randn(4, 4)}
    weights = RoundedWeights(model, torch.bfloat16, masters, frozenset(masters), {})
    new = torch.randn(4)
    with weights.exact():
        assert {tensor.dtype for tensor in model.parameters()} == {torch.float32}
        assert torch.equal(model[0].weight, masters["0.weight"])
        with torch.no_grad():
            model[0].weight.mul_(2)
            model[0].bias.copy_(new)
            model[1].running_mean.copy_(new)
    assert model[0].weight.dtype == model[1].running_mean.dtype == torch.bfloat16
    assert torch.equal(model[0].weight, masters["0.weight"].bfloat16()), (
        "masters stand in the model themselves"
    )
    weights.restore()
    assert torch.equal(model[0].bias, new) and torch.equal(model[1].running_mean, new)
