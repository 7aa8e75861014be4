"""Dropout and stochastic depth."""

import pytest
import torch

from ofacore.model.backbone.dropout import add_dropped, drop_path, dropout, keep_mask


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_elements_are_dropped_independently_at_the_rate(rate: float) -> None:
    torch.manual_seed(0)
    mask = keep_mask(torch.Size((1000, 1000)), rate, torch.float32)
    error = 5 * (rate * (1 - rate) / 1e6) ** 0.5
    assert abs(float(mask.mean()) - (1 - rate)) < error
    for shift in (1, 2, 3, 4, 1000):
        flat = mask.flatten()
        both = float((flat[:-shift] * flat[shift:]).mean())
        assert abs(both - (1 - rate) ** 2) < 2 * error


def test_gradient_is_the_mask_that_was_used() -> None:
    torch.manual_seed(0)
    x, residual = torch.ones(50, 7, requires_grad=True), torch.zeros(50, 7, requires_grad=True)
    y = add_dropped(residual, x, 0.3, True)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach()) and torch.equal(residual.grad, torch.ones(50, 7))
    torch.testing.assert_close(y.detach().unique(), torch.tensor([0.0, 1 / 0.7]), atol=1e-4, rtol=0)


def test_nothing_happens_outside_training_or_at_rate_zero() -> None:
    x = torch.randn(4, 3)
    assert dropout(x, 0.5, False) is x and dropout(x, 0.0, True) is x


def test_drop_path_drops_whole_sequences() -> None:
    torch.manual_seed(0)
    sequence = torch.arange(200).repeat_interleave(3)
    kept = drop_path(torch.ones(600, 4), sequence, 200, 0.25, True).view(200, 12)
    torch.testing.assert_close(kept[:, 0].unique(), torch.tensor([0.0, 1 / 0.75]))
    assert torch.equal(kept.amin(1), kept.amax(1))
