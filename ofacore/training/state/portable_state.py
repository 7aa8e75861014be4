"""What training keeps for each parameter, under the names of the portable weights.

A token table is one parameter in memory and one tensor for each vocabulary block on the disk, so that a model with more
blocks, or the same in another order, finds what belongs to each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Rows = Callable[[str], Mapping[str, slice]]
"""Parameter -> portable name -> rows; see `UniversalModel.portable_rows`."""


def divided(rows: Mapping[str, slice], value: Tensor) -> dict[str, Tensor]:
    """A parameter's tensor as one for each portable name; a single number goes to each."""
    return {name: value if value.ndim == 0 else value[part] for name, part in rows.items()}


@torch.no_grad()
def gather(rows: Mapping[str, slice], stored: Mapping[str, Tensor], into: Tensor) -> bool:
    """Copy what is stored into the rows of one tensor; rows without anything stored keep their values.

    Returns:
        Whether anything was stored.

    Raises:
        ValueError: A stored tensor has another shape; names it.
    """
    found = {name: stored[name] for name in rows if name in stored}
    for name, value in found.items():
        place = into if into.ndim == 0 else into[rows[name]]
        if place.shape != value.shape:
            raise ValueError(f"'{name}': stored {tuple(value.shape)}, here {tuple(place.shape)}")
        place.copy_(value)
    return bool(found)
