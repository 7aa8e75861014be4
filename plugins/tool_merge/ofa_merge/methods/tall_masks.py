"""Consensus of TALL masks: what matters to too few runs is left out of the sum of task vectors."""

import torch
from torch import Tensor

from ofa_merge.method import Method, Shared, weighted_sum
from ofacore.plugin import Option


def merge(shared: Shared) -> Tensor:
    """``theta_0 + m tau``, tau the sum of the weighted task vectors ``w_t tau_t``.

    A number matters to run t where ``|w_t tau_t| >= threshold |tau - w_t tau_t|``, which goes by the ratio of weights;
    m keeps those that matter to ``agree`` runs.
    """
    total = weighted_sum(shared.vectors, shared.weights)
    threshold = shared.options["threshold"]
    parts = [vector * weight for vector, weight in zip(shared.vectors, shared.weights, strict=True)]
    matters = [(part.abs() >= threshold * (total - part).abs()) & (part != 0) for part in parts]
    votes = torch.stack(matters).sum(0)
    needed = min(shared.options["agree"], len(shared.vectors))
    return shared.moved(total * (votes >= needed))


METHOD = Method(
    "tall-masks",
    "The sum of task vectors where it matters to several runs.",
    "Wang et al. 2024, Localizing task information",
    merge,
    weight=0.4,
    options={
        "threshold": Option(
            0.4, "How large a run's part must be, measured by the rest of the sum.", minimum=0.0
        ),
        "agree": Option(2, "Runs that a number must matter to.", minimum=1),
    },
)
