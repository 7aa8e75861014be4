"""From the host to the device of the model, without the host waiting for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device. From the host it goes through pinned memory, so that nobody waits for the copy."""
    if tensor.device == device:
        return tensor
    if tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def numbers_on(
    values: Sequence[Any], device: torch.device, dtype: torch.dtype | None = None
) -> Tensor:
    """A tensor of numbers that the host knows: what ``torch.tensor(values, device=device)`` gives after a wait."""
    return to_device(torch.tensor(values, dtype=dtype), device)


def item_numbers(lengths: Sequence[int], device: torch.device) -> Tensor:
    """int64 [sum of lengths]: the item that each position belongs to."""
    return to_device(torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths)), device)


def distinct(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Ids int64 [n] -> different ones in order, and the place of each of ``ids`` among them.

    On a CPU there are as many as differ. Elsewhere only the device knows how many that is, and to ask would be to wait:
    there are n, those behind the last one repeat it.
    """
    if ids.device.type == "cpu" or not len(ids):
        found, place = torch.unique(ids, return_inverse=True)
        return found, place
    ordered, order = ids.sort()
    begins = torch.cat([torch.zeros_like(ordered[:1]), (ordered[1:] != ordered[:-1]).long()])
    number = begins.cumsum(0)
    place = torch.empty_like(number).scatter_(0, order, number)
    return ordered[-1:].repeat(len(ids)).scatter_(0, number, ordered), place
