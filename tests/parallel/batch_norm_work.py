"""What two ranks do for `tests.parallel.test_sync_batch_norm`, and one process for comparison."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ofacore.model.universal import UniversalModel
from ofacore.parallel import process_groups as groups
from ofacore.parallel.process_grid import ProcessGrid
from ofacore.parts import SyncBatchNorm, synchronised
from ofacore.protocols import BuildContext
from tests.model import layouts
from tests.model.layouts import GridAdapter, Parts
from tests.parallel.layout_runs import mixed_modalities
from tests.parallel.staged import ALL_NEEDS, REGISTRY

SAMPLES, STEPS = 8, 3
PARTS = {"even": (4, 4), "uneven": (3, 5)}
"""Samples of each rank."""
KINDS = {"fp32": (torch.float32, 1e-5), "fp64": (torch.float64, 1e-10)}
"""Precision, and how close two ranks come to one."""
MOMENTA = (0.1, None)


def network(momentum: float | None, kind: torch.dtype) -> nn.Sequential:
    """Three normalisations between convolutions; the last one of vectors."""
    torch.manual_seed(1)
    built = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8, momentum=momentum),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3, stride=2, bias=False),
        nn.BatchNorm2d(6, eps=1e-3, momentum=momentum),
        nn.GELU(),
        nn.Flatten(),
        nn.LazyLinear(5, bias=False),
        nn.BatchNorm1d(5, momentum=momentum),
    )
    built(pictures(0, torch.float32))
    for module in built:
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return built.to(kind)


def pictures(step: int, kind: torch.dtype) -> Tensor:
    """[8, 3, 9, 9], with channels that are not centred."""
    generator = torch.Generator().manual_seed(step)
    means = torch.tensor([9.0, -5.0, 0.0])[:, None, None]
    return (torch.randn(SAMPLES, 3, 9, 9, generator=generator) * 3 + means).to(kind)


def learned(model: nn.Module, part: slice) -> dict[str, Tensor]:
    """States, gradients of input and weights, and statistics of some training steps on a part of each batch."""
    found: dict[str, Tensor] = {}
    kind = next(model.parameters()).dtype
    for step in range(STEPS):
        x = pictures(step, kind)[part].requires_grad_()
        states = model.train()(x)
        model.zero_grad()
        weights = torch.randn(SAMPLES, 5, generator=torch.Generator().manual_seed(9 + step))[
            part
        ].to(kind)
        (states * weights + states.square() * weights).sum().backward()
        assert x.grad is not None
        found |= {f"states {step}": states.detach(), f"input {step}": x.grad}
        found |= {
            f"gradient {step} {name}": p.grad
            for name, p in model.named_parameters()
            if p.grad is not None
        }
    found |= {f"statistics {name}": value.clone() for name, value in model.named_buffers()}
    return {**found, "evaluated": model.eval()(pictures(7, kind)[part]).detach()}


class NormedGrid(GridAdapter):
    """Normalises over all ranks."""

    collective = True

    def __init__(self, context: BuildContext) -> None:
        super().__init__(context)
        self.norm = SyncBatchNorm(context.hidden)

    def embed(self, features: Mapping[str, Tensor], shapes: Sequence[tuple[int, ...]]) -> Tensor:
        return self.norm(super().embed(features, shapes))


def normed(**options: Any) -> UniversalModel:
    return layouts.model(
        ALL_NEEDS, registry=Parts(**{**REGISTRY.known, "grid": NormedGrid}), **options
    )


def main(folder: Path) -> None:
    """One rank of two."""
    torch.set_num_threads(1)
    groups.start(ProcessGrid(int(os.environ["WORLD_SIZE"])))
    rank = groups.data_rank()
    for name, sizes in PARTS.items():
        part = slice(0, sizes[0]) if rank == 0 else slice(sizes[0], SAMPLES)
        for (precision, (kind, _)), momentum in product(KINDS.items(), MOMENTA):
            model = synchronised(network(momentum, kind))
            torch.save(learned(model, part), folder / f"{name} {precision} {momentum} {rank}.pt")
    try:
        SyncBatchNorm(4).train()(torch.ones(1 - rank, 4))
    except ValueError as error:
        (folder / f"single {rank}.txt").write_text(str(error))
    dist.barrier()
    (folder / f"mixed {rank}.json").write_text(json.dumps(mixed_modalities(normed)))
    groups.stop()
