"""The sum of task vectors."""

from torch import Tensor

from ofa_merge.method import Method, Shared, weighted_sum


def merge(shared: Shared) -> Tensor:
    """``theta_0 + sum(w tau)``."""
    return shared.moved(weighted_sum(shared.vectors, shared.weights))


METHOD = Method(
    "task-arithmetic",
    "The ancestor and the sum of what each run learned.",
    "Ilharco et al. 2023, Editing models with task arithmetic",
    merge,
    weight=0.4,
)
