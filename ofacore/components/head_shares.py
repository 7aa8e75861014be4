"""For position schemes that hold the heads of their own process of a tensor group alone (`Positions.splits_heads`)."""

from __future__ import annotations

from torch import Tensor, nn

from ofacore.parallel import regions
from ofacore.parallel import split_layers as layers
from ofacore.parallel.process_groups import tensor_size


def own_heads(heads: int) -> int:
    """Heads of this process, of so many of the model."""
    return heads // tensor_size()


def keep_part(module: nn.Module, **dims: int) -> None:
    """Replace whole parameters of a module by this process's parts, in place.

    Args:
        module: Just built, with parameters for all heads.
        dims: Parameter -> the dimension along which its heads stand: ``keep_part(linear, weight=0, bias=0)``.
    """
    layers.keep_part(module, **dims)


def to_parts(x: Tensor) -> Tensor:
    """A tensor that all processes have, where it goes into a part of each; gradients are summed on the way back."""
    return regions.to_parts(x)
