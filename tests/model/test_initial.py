"""Initial values depend on a name and a seed alone, however they come to their parameter."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ofacore.model.weights.initial import fill_normal, normal


@pytest.mark.parametrize("shape", [(3, 4), (33, 65), (2, 5, 8)])
def test_values_are_put_in_place_as_they_are_made(shape: tuple[int, ...]) -> None:
    made = normal("a.weight", shape, 7)
    for dtype in (torch.float32, torch.bfloat16):
        parameter = nn.Parameter(torch.zeros(shape, dtype=dtype))
        fill_normal(parameter, "a.weight", shape, 7, None)
        assert torch.equal(parameter, made.to(dtype)) and parameter.is_leaf
    table = torch.zeros(shape[0] + 2, *shape[1:])
    fill_normal(table[1:-1], "a.weight", shape, 7, 0)
    assert torch.equal(table[1:-1], made) and not table[0].any() and not table[-1].any()
