"""What a criterion gives must be losses that can be trained on; looked at without a wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ofacore.plugin import PluginError
from ofacore.protocols import Loss


def checked_loss(found: Any, prediction: Any, items: int, owner: str, place: str) -> Loss:
    """The losses themselves.

    Args:
        found: What the criterion gave.
        prediction: What it was given.
        items: Number of items that it was given.
        owner: The criterion and its plugin, for messages.
        place: Term, for messages.

    Raises:
        PluginError: It gave no `Loss`, not one value for each item, or values without a gradient
            to the prediction.
    """
    if problem := _problem(found, prediction, items):
        raise PluginError(f"{owner}, {place}: {problem}")
    return found  # type: ignore[no-any-return]


def _problem(found: Any, prediction: Any, items: int) -> str:
    if not isinstance(found, Loss) or not isinstance(found.values, Tensor):
        return f"gives {type(found).__name__}, no Loss of a tensor"
    units = {} if found.units is None else {"units": found.units}
    for name, values in {"values": found.values, **found.parts, **units}.items():
        shape = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        if shape != [items]:
            wanted = f"wanted is [{items}], one for each"
            return f"gives '{name}' of shape {shape} for {items} items; {wanted}"
    detached = items and torch.is_grad_enabled() and not found.values.requires_grad
    if detached and _needs_gradient(prediction):
        return "gives a loss that is detached from its prediction: nothing would be learned from it"
    return ""


def _needs_gradient(prediction: Any) -> bool:
    return any(isinstance(part, Tensor) and part.requires_grad for part in parts_of(prediction))


def parts_of(prediction: Any) -> Iterable[Any]:
    """What a prediction holds: itself, parts of a mapping or sequence, or an object's attributes."""
    if isinstance(prediction, Tensor):
        return (prediction,)
    if isinstance(prediction, Mapping):
        return prediction.values()
    if isinstance(prediction, list | tuple):
        return prediction
    return getattr(prediction, "__dict__", {}).values()
