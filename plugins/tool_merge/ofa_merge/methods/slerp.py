"""Interpolation of two models on a sphere, tensor by tensor."""

import math

import torch
from torch import Tensor

from ofa_merge.method import Method, Shared, weighted_sum

_NEARLY = 1e-6
"""Sine of an angle below which the arc is a line, or has no one direction."""


def merge(shared: Shared) -> Tensor:
    """The point of the arc between two tensors that divides its angle by the two weights.

    Lengths are interpolated by the same factors (Shoemake 1985). Tensors in one line, or of length zero, have no arc:
    these are interpolated linearly.
    """
    one, other = shared.values
    share = shared.weights[1] / sum(shared.weights)
    lengths = one.norm() * other.norm()
    if not lengths:
        return weighted_sum([one, other], [1 - share, share])
    cosine = float((one.double().flatten() @ other.double().flatten()) / lengths.double())
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if math.sin(angle) < _NEARLY:
        return torch.lerp(one, other, share)
    factors = [math.sin((1 - share) * angle), math.sin(share * angle)]
    return weighted_sum([one, other], [factor / math.sin(angle) for factor in factors])


METHOD = Method(
    "slerp",
    "Two models, interpolated on a sphere.",
    "Shoemake 1985, Animating rotation with quaternion curves",
    merge,
    from_ancestor=False,
    most_runs=2,
)
