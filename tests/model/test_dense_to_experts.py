"""Experts that begin as copies of a dense network."""

import numpy as np
import pytest
import torch

from ofacore.model.backbone.experts import dense_to_experts
from tests.model.layouts import collate, model, random_sample

SIZES = {"scale_fc": True, "hidden": 64, "ffn": 128}


def batch():
    rng = np.random.default_rng(3)
    return collate([random_sample(rng) for _ in range(6)])


@pytest.mark.parametrize("kind", ["modality", "task"])
@torch.no_grad()
def test_the_dense_result_to_the_bit(kind: str) -> None:
    dense, experts = model(**SIZES).eval(), model(**SIZES, experts=kind).eval()
    missing, unknown = experts.load_portable(
        dense_to_experts(dense.portable_state(), experts.backbone.expert_names()), strict=True
    )
    assert missing == unknown == []
    wanted, found = dense.hidden(batch()), experts.hidden(batch())
    assert torch.equal(found.source, wanted.source) and torch.equal(found.target, wanted.target)


def test_copies_are_independent() -> None:
    value = torch.ones(2, 2)
    spread = dense_to_experts({"a.ffn.up.weight": value, "a.norm.weight": value}, ("x", "y"))
    assert set(spread) == {"a.ffn.each.x.up.weight", "a.ffn.each.y.up.weight", "a.norm.weight"}
    spread["a.ffn.each.x.up.weight"].zero_()
    assert spread["a.ffn.each.y.up.weight"].sum() == value.sum() == 4
