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


PICTURES, STATISTICS = 4, ("running_mean", "running_var", "num_batches_tracked")


def pictures() -> torch.Tensor:
    return torch.randn(PICTURES, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def learned(part: slice) -> dict[str, torch.Tensor]:
    """States, gradients and statistics of a training step of the trunk on some of the pictures."""
    adapter = built(sync_batch_norm=True, freeze_statistics=False).train().double()
    assert adapter.collective
    states = adapter.states(pictures()[part].double())
    states.square().sum().backward()
    found = {
        f"gradient {name}": p.grad for name, p in adapter.named_parameters() if p.grad is not None
    }
    found |= {
        name: value for name, value in adapter.state_dict().items() if name.endswith(STATISTICS)
    }
    return {**found, "states": states.detach()}


def of_a_rank() -> dict[str, torch.Tensor]:
    """One of two ranks: one picture, and three."""
    import torch.distributed as dist

    built(sync_batch_norm=True).train().states(
        torch.randn(2 + dist.get_rank(), 3, 32, 32)
    )  # kept statistics
    return learned(slice(0, 1) if dist.get_rank() == 0 else slice(1, PICTURES))


@pytest.mark.dist
def test_two_ranks_with_parts_of_a_batch_learn_what_one_process_does(
    run_distributed: Callable[..., Any],
) -> None:
    first, second = run_distributed(of_a_rank, 2)
    for name, value in learned(slice(0, PICTURES)).items():
        if name.endswith(STATISTICS):
            assert first[name].equal(second[name]), name
            found = first[name]
        else:
            found = (
                torch.cat([first[name], second[name]])
                if name == "states"
                else first[name] + second[name]
            )
        scale = max(1.0, float(value.abs().max()))
        assert float((found - value).abs().max()) <= 1e-5 * scale, name


def test_one_process_alone_learns_them_as_usual() -> None:
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    together, apart = (
        built(sync_batch_norm=True, freeze_statistics=False),
        built(freeze_statistics=False),
    )
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
