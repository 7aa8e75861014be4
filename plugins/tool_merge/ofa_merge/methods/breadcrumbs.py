"""Model Breadcrumbs: of each tensor's task vector neither the smallest nor the largest numbers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ofa_merge.method import Method, Shared, weighted_sum
from ofacore.plugin import Option


def merge(shared: Shared) -> Tensor:
    """``theta_0 + sum(w m tau)``, m without both tails of the magnitudes of this tensor."""
    lowest, highest = shared.options["lowest"], shared.options["highest"]
    kept = [_middle(vector, lowest, highest) for vector in shared.vectors]
    return shared.moved(weighted_sum(kept, shared.weights))


def check(options: Mapping[str, Any]) -> str:
    """Both tails together must leave something."""
    lowest, highest = options["lowest"], options["highest"]
    left = lowest + highest < 1
    return "" if left else f"lowest={lowest:g} and highest={highest:g} leave nothing to merge"


def _middle(vector: Tensor, lowest: float, highest: float) -> Tensor:
    flat = vector.flatten()
    order = flat.abs().argsort(stable=True)
    begin = int(lowest * len(order))
    end = len(order) - int(highest * len(order))
    found = torch.zeros_like(flat)
    found[order[begin:end]] = flat[order[begin:end]]
    return found.view_as(vector)


METHOD = Method(
    "breadcrumbs",
    "Task vectors without the smallest and the largest numbers of each tensor.",
    "Davari and Belilovsky 2024, Model Breadcrumbs",
    merge,
    weight=0.4,
    options={
        "lowest": Option(
            0.85, "Share of the smallest magnitudes that is left out.", minimum=0.0, maximum=1.0
        ),
        "highest": Option(
            0.01, "Share of the largest magnitudes that is left out.", minimum=0.0, maximum=1.0
        ),
    },
    check=check,
)
