"""DARE: most of each task vector is dropped at random, the rest rescaled."""

import torch
from torch import Tensor

from ofa_merge.method import Method, Shared, weighted_sum
from ofacore.model.weights.initial import seed_of
from ofacore.plugin import Option


def merge(shared: Shared) -> Tensor:
    """``theta_0 + sum(w m tau / (1 - p))``; each mask m depends on the seed, the run's number and the tensor's name."""
    drop, seed = shared.options["drop"], shared.options["seed"]
    kept = []
    for run, vector in zip(shared.runs, shared.vectors, strict=True):
        generator = torch.Generator().manual_seed(seed_of(f"{run}/{shared.name}", seed))
        mask = torch.rand(vector.shape, generator=generator) >= drop
        kept.append(vector * mask / (1 - drop))
    return shared.moved(weighted_sum(kept, shared.weights))


METHOD = Method(
    "dare",
    "Task vectors with parts dropped at random, and the rest made larger.",
    "Yu et al. 2024, Language models are super Mario",
    merge,
    weight=0.4,
    options={
        "drop": Option(0.5, "Probability of dropping a number.", minimum=0.0, maximum=0.999),
        "seed": Option(1, "Which numbers are dropped.", minimum=0),
    },
)
