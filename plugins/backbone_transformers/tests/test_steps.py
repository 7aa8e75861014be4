"""Rows that are finished do not slow down those that go on: the layers' own cache serves them to the end."""

from __future__ import annotations

import pytest
import torch

from ofacore import Generalist, Task
from ofacore.parts import UncachedDecoder

ROWS = [{"a": "red", "b": "sun"}]
STEPS = [(1, 1, 1), (1, 0, 1), (1, 0, 0)]


@pytest.mark.parametrize("family", ["t5", "gpt2"])
@torch.no_grad()
def test_finished_rows_leave_the_cache_in_step(family, folder_of):
    named = {"name": "transformers", "path": str(folder_of(family))}
    model = Generalist.create([Task("t", "[TEXT:a] -> [TEXT:b]", train=ROWS)], backbone=named)
    backbone = model.model.eval().backbone
    plain = UncachedDecoder(backbone)
    ours, exact = backbone.start_cache(3), plain.start_cache(3)
    generator, counts = torch.Generator().manual_seed(0), torch.zeros(3, dtype=torch.int64)

    def step(kept):
        states = torch.randn(3, 1, 32, generator=generator)
        valid = torch.tensor(kept, dtype=torch.bool)[:, None]
        places = counts[:, None, None].expand(-1, 1, 3)
        found = backbone.extend(states, places, ours, valid, "token")
        wanted = plain.extend(states, places, exact, valid, "token")
        counts.add_(valid[:, 0])
        assert torch.allclose(found[valid], wanted[valid], atol=1e-5)
        assert ours.length == exact.length

    for kept in STEPS:
        step(kept)
    assert ours.own is not None
    ours.reorder(torch.tensor([0, 2, 1]))
    exact.reorder(torch.tensor([0, 2, 1]))
    counts = counts[[0, 2, 1]]
    step((1, 0, 0))
    assert ours.own is not None
    step((1, 1, 1))
    assert ours.own is None
