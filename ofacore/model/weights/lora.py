"""Low-rank updates of linear layers (LoRA, Hu et al. 2021).

`peft` wraps a linear in a layer of its own, which renames every parameter that checkpoints and freezing rules refer to,
and its parallel variant expects megatron's pair of outputs; a forward hook does the same work and renames nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ofacore.config.model_section import LoraConfig
from ofacore.ground.errors import UserError
from ofacore.model.weights.initial import normal
from ofacore.model.weights.row_tasks import RowsOfTask, RowTasks, task_key
from ofacore.parallel.process_groups import tensor_size
from ofacore.parallel.regions import each_position_summed, summed, summed_by_position, to_parts
from ofacore.parallel.sharding import (
    is_expert,
    mark_expert,
    mark_partial,
    mark_split,
    own_part,
    split_dim,
    whole_shape,
)
from ofacore.protocols import RowedBackbone, Side, TaskedBackbone

MARK = ".low_rank."
"""In the names of all that a model learns in updates."""


class LowRank(nn.Module):
    """``x -> dropout(x) A^T B^T * alpha / rank``; B starts at zero. Split as the linear is, and held where it is.

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
        if self.split == 1:
            down = own_part(down, 1).clone()
        if self.split == 0:
            outputs //= tensor_size()
        self.down = nn.Parameter(down)
        self.up = nn.Parameter(torch.zeros(outputs, config.rank))
        self.dropout = nn.Dropout(config.dropout)
        self.scale = config.alpha / config.rank
        self._mark(getattr(linear, "sequence_parallel", False))
        if is_expert(linear.weight):  # type: ignore[arg-type]
            mark_expert(self)

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


class LowRankByTask(nn.Module):
    """An update for each task; positions of a task that has none keep the linear's output.

    Args:
        linear: What they update.
        name: Name of the linear.
        config: Rank, scale, dropout.
        seed: Seed of the initial values.
        tasks: Names.
        whose: Tells the tasks of the rows that it reads now.
    """

    def __init__(
        self,
        linear: nn.Module,
        name: str,
        config: LoraConfig,
        seed: int,
        tasks: Sequence[str],
        whose: Callable[[], Sequence[RowsOfTask]],
    ) -> None:
        super().__init__()
        self.each = nn.ModuleDict(
            {task_key(task): LowRank(linear, f"{name}.{task}", config, seed) for task in tasks}
        )
        self.outputs = whole_shape(linear.weight)[0]  # type: ignore[arg-type]
        self.name, self.whose = name, whose

    def forward(self, x: Tensor, by_position: bool = False) -> Tensor:
        """[rows, ..., inputs] -> [rows, ..., outputs]; any shape where all of it belongs to one task.

        Raises:
            UserError: The linear reads other rows than those whose tasks are known.
        """
        total = x.new_zeros(*x.shape[:-1], self.outputs)
        parts = self.whose()
        known = sum(len(rows) for _, rows in parts if rows is not None)
        if known and known != len(x):
            raise UserError(
                f"model.lora: '{self.name}' mixes the rows of several tasks, so its update cannot differ by task; "
                "leave it out of model.lora.targets, or set model.lora.per=all"
            )
        for task, rows in parts:
            if task_key(task) not in self.each:
                continue
            update = self.each[task_key(task)]
            if rows is None:
                return update(x)  # type: ignore[no-any-return]
            total = total.index_add(0, rows, update(x.index_select(0, rows)).to(total.dtype))
        return total


def place_of_update(config: LoraConfig, task: str = "") -> str:
    """What stands between the name of a linear and ``.down`` or ``.up`` of its update, or of a task's update."""
    return f".low_rank.each.{task_key(task)}" if config.per == "task" else ".low_rank"


def folded(state: Mapping[str, Tensor], config: LoraConfig, task: str = "") -> dict[str, Tensor]:
    """Weights of a model with their low-rank updates added: ``W + B A alpha / rank``.

    Args:
        state: Portable name -> tensor.
        config: Of the updates.
        task: Whose update, where every task has its own.
    """
    own = place_of_update(config, task)
    found = {name: value for name, value in state.items() if ".low_rank." not in name}
    for name, down in state.items():
        linear = name.removesuffix(f"{own}.down")
        if linear != name:
            update = state[f"{linear}{own}.up"].float() @ down.float()
            weight = found[f"{linear}.weight"]
            found[f"{linear}.weight"] = weight + update * (config.alpha / config.rank)
    return found


def _add_update(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + module.low_rank(inputs[0], getattr(module, "sequence_parallel", False))  # type: ignore[no-any-return]


def add_low_rank(
    model: nn.Module,
    config: LoraConfig,
    seed: int = 1,
    tasks: Sequence[str] = (),
    rows: RowTasks | None = None,
) -> list[str]:
    """Give every linear whose name matches a trainable low-rank update, or one for each task.

    Updates by task are those of the backbone's linears alone, which read a stream.

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
    chosen = [(name, module) for name, module in linears if _is_among(name, config.targets)]
    if not linears:
        raise UserError(
            "model.lora.rank: this model has no linear layer that could be updated (torch's nn.GRU, nn.LSTM and "
            "nn.MultiheadAttention read their weights themselves); set model.lora.rank=0"
        )
    if not chosen:
        raise UserError(
            f"model.lora.targets: no linear matches {list(config.targets)}; names look like '{linears[0][0]}'"
        )
    sides = _sides(model, chosen) if rows is not None else {}
    if rows is not None:
        chosen = [(name, module) for name, module in chosen if name in sides]
    for name, module in chosen:
        if rows is None:
            module.low_rank = LowRank(module, name, config, seed)
        else:
            whose = _whose(model, sides[name], rows)
            module.low_rank = LowRankByTask(module, name, config, seed, tasks, whose)
        module.register_forward_hook(_add_update)
    return [name for name, _ in chosen]


def _is_among(name: str, targets: Sequence[str]) -> bool:
    """Whether one of the regular expressions is found in the name."""
    return any(re.search(target, name) for target in targets)


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ in ("ColumnLinear", "RowLinear")


def _whose(model: Any, side: Side, rows: RowTasks) -> Callable[[], Sequence[RowsOfTask]]:
    """What tells the tasks of rows: the backbone, where it makes rows of its own, else the latest pass."""
    if isinstance(model.backbone, RowedBackbone):
        return model.backbone.rows_by_task
    return partial(rows.of, side)


def _sides(model: nn.Module, chosen: Sequence[tuple[str, nn.Module]]) -> dict[str, Side]:
    """Linear of the backbone -> side whose stream it reads.

    Raises:
        UserError: The backbone does not tell, or none of the linears reads a stream.
    """
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, TaskedBackbone):
        kind = type(backbone).__name__
        raise UserError(
            f"model.lora.per: {kind} does not tell which positions its linears read, so updates cannot differ by "
            "task; set model.lora.per=all"
        )
    found: dict[str, Side] = {}
    for name, _ in chosen:
        prefix, _, own = name.partition(".")
        side = backbone.side_of(own) if prefix == "backbone" else None
        if side is not None:
            found[name] = side
    if not found:
        raise UserError(
            f"model.lora.targets: updates by task are those of the backbone, and '{chosen[0][0]}' is none of its "
            "linears that read a stream; name others, or set model.lora.per=all"
        )
    return found
