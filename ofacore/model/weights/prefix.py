"""Prefix tuning (Li and Liang 2021): learned keys and values that stand before each attention's own.

They have no position: neither rotation nor bias nor features of a position scheme reach them. The vectors themselves
are learned, without the network that the paper makes them with while it trains.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ofacore.config.model_section import PrefixConfig
from ofacore.ground.errors import UserError
from ofacore.model.backbone.attention import Attention
from ofacore.model.backbone.prefixed import LearnedKeys
from ofacore.model.weights.initial import normal
from ofacore.model.weights.row_tasks import RowTasks, task_key
from ofacore.parallel.process_groups import tensor_size
from ofacore.parallel.sharding import mark_split, own_part
from ofacore.protocols import Side

MARK = ".prefix."
"""In the names of all that a model learns in front of attentions."""


class Prefix(nn.Module):
    """Keys and values of one attention, split by heads as it is.

    Args:
        attention: What they stand before.
        name: Of the attention.
        length: Number of keys P.
        seed: Seed of the initial values.
    """

    def __init__(self, attention: Attention, name: str, length: int, seed: int) -> None:
        super().__init__()
        shape = (length, attention.heads * tensor_size(), attention.head_size)
        self.keys, self.values = (
            nn.Parameter(own_part(normal(f"{name}.{part}", shape, seed), 1).clone())
            for part in ("keys", "values")
        )
        mark_split(self.keys, 1)
        mark_split(self.values, 1)

    def forward(self) -> LearnedKeys:
        """Those of this pass."""
        return LearnedKeys(self.keys, self.values)


class PrefixByTask(nn.Module):
    """Keys and values of each task; positions of a task that has none see the attention's own alone.

    Args:
        attention: What they stand before; its queries are positions of ``side``.
        name: Of the attention.
        length: Number of keys of each task.
        seed: Seed of the initial values.
        tasks: Names.
        side: Whose positions ask.
        rows: Tells their tasks.
    """

    def __init__(
        self,
        attention: Attention,
        name: str,
        length: int,
        seed: int,
        tasks: Sequence[str],
        side: Side,
        rows: RowTasks,
    ) -> None:
        super().__init__()
        self.each = nn.ModuleDict(
            {task_key(task): Prefix(attention, f"{name}.{task}", length, seed) for task in tasks}
        )
        self.side, self.rows = side, rows

    def forward(self) -> LearnedKeys | None:
        """Those of the tasks in this pass; None: none of them has any."""
        present = [(task, rows) for task, rows in self.rows.of(self.side) if self._has(task, rows)]
        if not present:
            return None
        parts = [self.each[task_key(task)] for task, _ in present]
        keys = torch.cat([part.keys for part in parts])
        values = torch.cat([part.values for part in parts])
        if present[0][1] is None:
            return LearnedKeys(keys, values)
        counts = torch.tensor([len(part.keys) for part in parts], device=keys.device)
        owners = torch.repeat_interleave(counts)
        numbers = self.rows.numbers(self.side, [task for task, _ in present])
        return LearnedKeys(keys, values, owners, numbers)

    def _has(self, task: str, rows: Tensor | None) -> bool:
        return task_key(task) in self.each and (rows is None or len(rows) > 0)


def add_prefixes(
    model: nn.Module,
    config: PrefixConfig,
    seed: int = 1,
    tasks: Sequence[str] = (),
    rows: RowTasks | None = None,
) -> list[str]:
    """Give every attention of the backbone trainable keys and values in front, or some for each task.

    Returns:
        Names of the attentions.

    Raises:
        UserError: The backbone has none that takes them.
    """
    backbone = getattr(model, "backbone", None)
    found = {
        name: part
        for name, part in (nn.Module() if backbone is None else backbone).named_modules()
        if isinstance(part, Attention)
    }
    if not found:
        raise UserError(
            f"model.prefix: {type(backbone).__name__} has attention of its own, which takes no keys from outside; "
            "learn a slot [PROMPT:p,length=8] or model.lora in its place"
        )
    for own, attention in found.items():
        name = f"backbone.{own}"
        if rows is None:
            attention.prefix = Prefix(attention, name, config.length, seed)
        else:
            side: Side = "source" if own.startswith("encoder.") else "target"
            attention.prefix = PrefixByTask(attention, name, config.length, seed, tasks, side, rows)
    return [f"backbone.{own}" for own in found]
