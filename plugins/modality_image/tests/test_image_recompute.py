"""Activations of the trunk that are computed again change nothing but memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ofa_modality_image.manifest import COMPONENTS
from ofa_modality_image.resnet import ImageResnet
from ofacore.protocols import BuildContext, Vocabulary


def built(**changes: Any) -> ImageResnet:
    component = next(part for part in COMPONENTS if part.name == "image_resnet")
    torch.manual_seed(0)
    return ImageResnet(
        BuildContext(8, {**component.options, **changes}, Vocabulary(), None)
    ).train()


@pytest.mark.parametrize("drop_path", [0.0, 0.5])
def test_states_and_gradients_are_the_same_with_less_kept(drop_path: float) -> None:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    found = []
    for again in (False, True):
        adapter, kept = built(recompute=again, drop_path=drop_path), 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        torch.manual_seed(2)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            states = adapter.states(x)
        states.square().sum().backward()
        found.append((states, {name: p.grad for name, p in adapter.named_parameters()}, kept))
    (states, gradients, kept), (again, others, less) = found
    torch.testing.assert_close(states, again)
    torch.testing.assert_close(gradients, others)
    assert less < kept / 2


def test_statistics_that_are_learned_are_not_updated_twice() -> None:
    with pytest.raises(ValueError, match="recompute=true needs freeze_statistics=true"):
        built(recompute=True, freeze_statistics=False)
