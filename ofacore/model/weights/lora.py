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
from ofacore.ground.errors import UserError
from ofacore.model.weights.initial import normal
from ofacore.parallel.process_groups import tensor_size
from ofacore.parallel.regions import each_position_summed, summed, summed_by_position, to_parts
from ofacore.parallel.sharding import mark_partial, mark_split, own_part, split_dim, whole_shape


class LowRank(nn.Module):
    """``x -> dropout(x) A^T B^T * alpha / rank``; B starts at zero. Split as the linear is.

    Args:
        linear: What it updates.
        name: Name of the linear.
        config: Rank, scale, dropout.
        seed: Seed of the initial values.
    """

    def __init__(self, linear: nn.Module, name: str, config: LoraConfig, seed: int) -> None:
        super().__init__()
        outputs, inputs = whole_shape(linear.weight)  # type: ignore[arg-type]
        self.split = split_dim(linear.weight) if tensor_size() > 1 else None  # type: ignore[arg-type]
        self.shared_input = not isinstance(linear, nn.Linear)
        down = normal(f"{name}.down", (config.rank, inputs), seed, inputs**-0.5)
        self.down = nn.Parameter(own_part(down, 1).clone() if self.split == 1 else down)
        self.up = nn.Parameter(
            torch.zeros(outputs // tensor_size() if self.split == 0 else outputs, config.rank)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.scale = config.alpha / config.rank
        self._mark(getattr(linear, "sequence_parallel", False))

    def _mark(self, by_position: bool) -> None:
        if self.split is None:
            return
        halved, whole = (self.up, self.down) if self.split == 0 else (self.down, self.up)
        mark_split(halved, self.split)
        if by_position or not self.shared_input:
            mark_partial(whole)

    def forward(self, x: Tensor, by_position: bool = False) -> Tensor:
        """[..., inputs] -> [..., outputs]; ``by_position``: the linear works under sequence parallelism now."""
        low = nn.functional.linear(self.dropout(x), self.down)
        if self.split == 0 and self.shared_input:
            low = each_position_summed(low) if by_position else to_parts(low)
        elif self.split == 1:
            low = summed_by_position(low) if by_position else summed(low)
        return nn.functional.linear(low, self.up) * self.scale


def _add_update(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + module.low_rank(inputs[0], getattr(module, "sequence_parallel", False))  # type: ignore[no-any-return]


def add_low_rank(model: nn.Module, config: LoraConfig, seed: int = 1) -> list[str]:
    """Freeze a model and give every linear whose name matches a trainable low-rank update.

    The output of torch's `nn.MultiheadAttention` is left out: attention reads its weight and never calls it.

    Returns:
        Names of the linears.

    Raises:
        UserError: No linear matches.
    """
    fused = {
        id(part.out_proj) for part in model.modules() if isinstance(part, nn.MultiheadAttention)
    }
    linears = [
        (name, module)
        for name, module in model.named_modules()
        if _is_linear(module) and id(module) not in fused
    ]
    chosen = [
        (name, module)
        for name, module in linears
        if any(re.search(p, name) for p in config.targets)
    ]
    if not linears:
        raise UserError(
            "model.lora.rank: this model has no linear layer that could be updated (torch's nn.GRU, nn.LSTM and "
            "nn.MultiheadAttention read their weights themselves); set model.lora.rank=0"
        )
    if not chosen:
        raise UserError(
            f"model.lora.targets: no linear matches {list(config.targets)}; names look like '{linears[0][0]}'"
        )
    model.requires_grad_(False)
    for name, module in chosen:
        module.low_rank = LowRank(module, name, config, seed)
        module.register_forward_hook(_add_update)
    return [name for name, _ in chosen]


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ in ("ColumnLinear", "RowLinear")
