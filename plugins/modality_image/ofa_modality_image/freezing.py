"""Towers that are not learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor


def rest_frozen(tower: nn.Module, frozen: bool) -> None:
    """A frozen tower stays in evaluation, whatever the model around it does."""
    if frozen:
        tower.eval()


def run_tower(tower: nn.Module, *inputs: Tensor, **options: Any) -> Any:
    """Call a tower; nothing is kept for a backward pass where none of its parameters is learned."""
    learned = torch.is_grad_enabled() and any(
        parameter.requires_grad for parameter in tower.parameters()
    )
    with torch.set_grad_enabled(learned):
        return tower(*inputs, **options)
