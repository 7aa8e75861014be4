"""TIES: trim, elect signs, and take the mean of what agrees with them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ofa_merge.magnitudes import smallest_kept
from ofa_merge.method import Method, Shared, Vectors
from ofacore.plugin import Option


def prepare(vectors: Vectors, runs: int, options: Mapping[str, Any]) -> Sequence[float]:
    """For each run the smallest magnitude of its whole task vector that is not trimmed."""
    return [smallest_kept(partial(vectors, run), options["density"]) for run in range(runs)]


def merge(shared: Shared) -> Tensor:
    """``theta_0 + scale * mean of the trimmed tau whose sign is that of their weighted sum``."""
    trimmed = [
        vector.where(vector.abs() >= shared.prepared[run], 0.0)
        for run, vector in zip(shared.runs, shared.vectors, strict=True)
    ]
    stacked = torch.stack(trimmed)
    weights = torch.tensor(shared.weights).view(-1, *[1] * (stacked.ndim - 1))
    weighted = stacked * weights
    elected = weighted.sum(0).sign()
    agrees = (weighted.sign() == elected) & (stacked != 0)
    weight = (weights.abs() * agrees).sum(0)
    mean = (weighted * agrees).sum(0) / weight.where(weight > 0, 1.0)
    return shared.moved(mean * shared.options["scale"])


METHOD = Method(
    "ties",
    "Task vectors without their small parts; where signs differ, the heavier one counts.",
    "Yadav et al. 2023, TIES-Merging",
    merge,
    weight=1.0,
    options={
        "density": Option(
            0.2,
            "Share of each task vector that is kept, the largest magnitudes.",
            minimum=0.001,
            maximum=1.0,
        ),
        "scale": Option(1.0, "Factor on the merged task vector."),
    },
    prepare=prepare,
)
