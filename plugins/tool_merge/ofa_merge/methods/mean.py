"""The weighted mean of the weights."""

from torch import Tensor

from ofa_merge.method import Method, Shared, weighted_sum


def merge(shared: Shared) -> Tensor:
    """``sum(w theta) / sum(w)``; equal tensors stay as they are, bit for bit."""
    first = shared.values[0]
    if all(value.equal(first) for value in shared.values):
        return first
    return weighted_sum(shared.values, shared.weights) / sum(shared.weights)


METHOD = Method(
    "mean",
    "The mean of the weights.",
    "Wortsman et al. 2022, Model soups",
    merge,
    from_ancestor=False,
)
