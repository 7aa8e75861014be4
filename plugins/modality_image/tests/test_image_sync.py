"""Batch normalisation of several processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ofa_modality_image.manifest import COMPONENTS
from ofa_modality_image.resnet import ImageResnet
from ofacore.protocols import BuildContext, Vocabulary


def built(**changes: Any) -> ImageResnet:
    component = next(part for part in COMPONENTS if part.name == "image_resnet")
    torch.manual_seed(0)
    return ImageResnet(BuildContext(8, {**component.options, **changes}, Vocabulary(), None))


def outcomes() -> dict[str, str]:
    """What each choice of statistics gives on a rank."""
    choices: dict[str, dict[str, Any]] = {
        "together": {"sync_batch_norm": True, "freeze_statistics": False},
        "kept": {"sync_batch_norm": True},
        "apart": {"freeze_statistics": False},
    }
    found = {}
    for name, options in choices.items():
        adapter = built(**options).train()
        try:
            adapter.states(torch.randn(2, 3, 32, 32))
            found[name] = "works"
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    adapter = built(sync_batch_norm=True, freeze_statistics=False).eval()
    adapter.states(torch.randn(1, 3, 32, 32))
    return found


@pytest.mark.dist
def test_statistics_of_several_ranks_without_gpus_are_refused_by_name(run_distributed: Callable[..., Any]) -> None:
    for found in run_distributed(outcomes, 2):
        assert (found["kept"], found["apart"]) == ("works", "works")
        assert found["together"].startswith("PluginError: image_resnet: sync_batch_norm over 2 ranks needs GPUs")
        assert "freeze_statistics=true" in found["together"]


def test_one_process_alone_learns_them_as_usual() -> None:
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    together, apart = built(sync_batch_norm=True, freeze_statistics=False), built(freeze_statistics=False)
    together.load_state_dict(apart.state_dict())
    torch.testing.assert_close(together.train().states(x), apart.train().states(x))
    for name, value in apart.state_dict().items():
        torch.testing.assert_close(together.state_dict()[name], value)


def test_kept_statistics_do_not_depend_on_the_batch() -> None:
    adapter = built().train()
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    before = {name: value.clone() for name, value in adapter.state_dict().items()}
    torch.testing.assert_close(adapter.states(x)[:1], adapter.states(x[:1]), atol=1e-5, rtol=1e-5)
    assert all(value.equal(before[name]) for name, value in adapter.state_dict().items())
