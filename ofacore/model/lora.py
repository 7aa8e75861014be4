"""Low-rank updates of linear layers (LoRA, Hu et al. 2021).

`peft` wraps a linear in a layer of its own, which renames every parameter that checkpoints and freezing rules refer to,
and its parallel variant expects megatron's pair of outputs; a forward hook does the same work and renames nothing.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from ofacore.config.schema import LoraConfig
from ofacore.model.initial import normal


class LowRank(nn.Module):
    """``x -> dropout(x) A^T B^T * alpha / rank``; B starts at zero."""

    def __init__(self, name: str, outputs: int, inputs: int, config: LoraConfig, seed: int) -> None:
        super().__init__()
        self.down = nn.Parameter(normal(f"{name}.down", (config.rank, inputs), seed, inputs**-0.5))
        self.up = nn.Parameter(torch.zeros(outputs, config.rank))
        self.dropout = nn.Dropout(config.dropout)
        self.scale = config.alpha / config.rank

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]."""
        return nn.functional.linear(nn.functional.linear(self.dropout(x), self.down), self.up) * self.scale


def _add_update(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + module.low_rank(inputs[0])  # type: ignore[no-any-return]


def add_low_rank(model: nn.Module, config: LoraConfig, seed: int = 1) -> list[str]:
    """Freeze a model and give every linear whose name matches a trainable low-rank update.

    Returns:
        Names of the linears.

    Raises:
        ValueError: No linear matches.
    """
    linears = [(name, module) for name, module in model.named_modules() if _is_linear(module)]
    chosen = [(name, module) for name, module in linears if any(re.search(p, name) for p in config.targets)]
    if not chosen:
        raise ValueError(
            f"model.lora.targets: no linear matches {list(config.targets)}; names look like '{linears[0][0]}'"
        )
    model.requires_grad_(False)
    for name, module in chosen:
        outputs, inputs = module.weight.shape
        module.low_rank = LowRank(name, outputs, inputs, config, seed)
        module.register_forward_hook(_add_update)
    return [name for name, _ in chosen]


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ in ("ColumnLinear", "RowLinear")
