"""Batch normalisation of two ranks is that of one process with the whole batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from ofacore.parts import SyncBatchNorm, synchronised
from tests.parallel.batch_norm_work import KINDS, MOMENTA, PARTS, SAMPLES, learned, network
from tests.parallel.launching import launch
from tests.parallel.test_layouts import TOLERANCES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What both ranks wrote."""
    found = tmp_path_factory.mktemp("norm")
    done = launch("tests.parallel.batch_norm_work", 2, str(found))
    assert [code for code, _ in done] == [0, 0], "\n".join(output[-3000:] for _, output in done)
    return found


@pytest.mark.dist
@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("precision", KINDS)
@pytest.mark.parametrize("name", PARTS)
def test_two_ranks_give_states_gradients_and_statistics_of_one(
    folder: Path, name: str, precision: str, momentum: float | None
) -> None:
    kind, close = KINDS[precision]
    expected = learned(network(momentum, kind), slice(0, SAMPLES))
    files = [folder / f"{name} {precision} {momentum} {rank}.pt" for rank in (0, 1)]
    ranks = [torch.load(file, weights_only=True) for file in files]
    for key, value in expected.items():
        first, second = (rank[key] for rank in ranks)
        if key.startswith("gradient"):
            found = first + second
        elif key.startswith("statistics"):
            assert first.equal(second), key
            found = first
        else:
            found = torch.cat([first, second])
        scale = max(1.0, float(value.abs().max()))
        assert float((found - value).abs().max()) <= close * scale, key


@pytest.mark.dist
def test_a_rank_without_pictures_takes_part_but_counts_for_nothing(folder: Path) -> None:
    for rank in (0, 1):
        for what, value in json.loads((folder / f"mixed {rank}.json").read_text()).items():
            assert value <= TOLERANCES[what], (what, value)


@pytest.mark.dist
def test_one_value_for_each_channel_has_no_variance(folder: Path) -> None:
    for rank in (0, 1):
        assert "over 1 value for each channel" in (folder / f"single {rank}.txt").read_text()


def test_alone_it_is_the_plain_layer_with_its_names() -> None:
    plain, ours = network(0.1, torch.float32), synchronised(network(0.1, torch.float32))
    assert sum(isinstance(module, SyncBatchNorm) for module in ours.modules()) == 3
    assert list(plain.state_dict()) == list(ours.state_dict())
    for key, value in learned(plain, slice(0, SAMPLES)).items():
        assert learned(synchronised(network(0.1, torch.float32)), slice(0, SAMPLES))[key].equal(
            value
        ), key


def test_frozen_weights_stay_frozen_and_settings_stay() -> None:
    layer = nn.BatchNorm2d(4, eps=0.5, momentum=0.3).requires_grad_(False).eval()
    found = synchronised(layer)
    assert isinstance(found, SyncBatchNorm)
    assert (found.eps, found.momentum, found.training, found.weight.requires_grad) == (
        0.5,
        0.3,
        False,
        False,
    )
