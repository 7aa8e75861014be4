"""Prefix tuning (Li and Liang 2021): learned keys and values that stand before each attention's own.

They have no position: neither rotation nor bias nor features of a position scheme reach them. The vectors themselves
are learned, without the network that the paper makes them with while it trains.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ofacore.config.model_section import PrefixConfig
from ofacore.ground.errors import UserError
from ofacore.model.backbone.attention import Attention
from ofacore.model.backbone.prefixed import LearnedKeys
from ofacore.model.weights.initial import normal
from ofacore.model.weights.row_tasks import RowsOfTask, RowTasks, task_key
from ofacore.parallel.process_groups import tensor_size
from ofacore.parallel.sharding import mark_split, own_part
from ofacore.protocols import KeysAhead, KeyShape, PrefixedBackbone, RowedBackbone, Side

MARK = ".prefix."
"""In the names of all that a model learns in front of attentions."""


class Vectors(nn.Module):
    """What one attention learns, split by heads as it is.

    Args:
        shape: Of its keys; heads are those of this process.
        name: Of the attention.
        length: Number of keys P.
        seed: Seed of the initial values.

    Attributes:
        keys: [P, h, d].
        values: [P, h, e].
    """

    def __init__(self, shape: KeyShape, name: str, length: int, seed: int) -> None:
        super().__init__()
        heads = shape.heads * tensor_size()
        self.keys, self.values = (
            nn.Parameter(
                own_part(normal(f"{name}.{part}", (length, heads, width), seed), 1).clone()
            )
            for part, width in (("keys", shape.keys), ("values", shape.values))
        )
        mark_split(self.keys, 1)
        mark_split(self.values, 1)


class Prefix(Vectors):
    """Keys and values of one attention, for all tasks."""

    def forward(self) -> LearnedKeys:
        """Those of this pass."""
        return LearnedKeys(self.keys, self.values)


class PrefixOfRows(Vectors):
    """The same, of an attention that makes rows of its own."""

    def forward(self, rows: int) -> KeysAhead:
        """Those of so many rows."""
        return _of_all(self, rows)


class PrefixByTask(nn.Module):
    """Keys and values of each task; positions of a task that has none see the attention's own alone.

    Args:
        shape: Of the attention's keys; its queries are positions of ``side``.
        name: Of the attention.
        length: Number of keys of each task.
        seed: Seed of the initial values.
        tasks: Names.
        side: Whose positions ask.
        rows: Tells their tasks.
    """

    def __init__(
        self,
        shape: KeyShape,
        name: str,
        length: int,
        seed: int,
        tasks: Sequence[str],
        side: Side,
        rows: RowTasks,
    ) -> None:
        super().__init__()
        self.each = _by_task(shape, name, length, seed, tasks)
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


class PrefixOfRowsByTask(nn.Module):
    """Keys and values of each task, of an attention that makes rows of its own; a row belongs to one task.

    Args:
        shape: Of the attention's keys.
        name: Of the attention.
        length: Number of keys of each task.
        seed: Seed of the initial values.
        tasks: Names.
        whose: Tells the tasks of the rows that it reads now.
    """

    def __init__(
        self,
        shape: KeyShape,
        name: str,
        length: int,
        seed: int,
        tasks: Sequence[str],
        whose: Callable[[], Sequence[RowsOfTask]],
    ) -> None:
        super().__init__()
        self.each = _by_task(shape, name, length, seed, tasks)
        self.name, self.whose = name, whose

    def forward(self, rows: int) -> KeysAhead | None:
        """Those of so many rows; None: no row's task has any.

        Raises:
            UserError: The attention reads other rows than those whose tasks are known.
        """
        known = self.whose()
        present = [(task, own) for task, own in known if task_key(task) in self.each]
        if not present:
            return None
        parts = [self.each[task_key(task)] for task, _ in present]
        if present[0][1] is None:
            return _of_all(parts[0], rows)
        keys = torch.stack([part.keys.transpose(0, 1) for part in parts])
        values = torch.stack([part.values.transpose(0, 1) for part in parts])
        if sum(len(own) for _, own in known if own is not None) != rows:
            raise UserError(
                f"model.prefix: '{self.name}' mixes the rows of several tasks, so its keys cannot differ by task; set "
                "model.prefix.per=all"
            )
        numbers = torch.full((rows,), -1, device=keys.device)
        for number, (_, own) in enumerate(present):
            numbers[own] = number
        seen = (numbers >= 0)[:, None].expand(-1, keys.shape[2])
        place = numbers.clamp(min=0)
        return KeysAhead(keys.index_select(0, place), values.index_select(0, place), seen)


def _by_task(
    shape: KeyShape, name: str, length: int, seed: int, tasks: Sequence[str]
) -> nn.ModuleDict:
    return nn.ModuleDict(
        {task_key(task): Prefix(shape, f"{name}.{task}", length, seed) for task in tasks}
    )


def _of_all(vectors: Vectors, rows: int) -> KeysAhead:
    """The same of each row."""
    keys, values = vectors.keys.transpose(0, 1), vectors.values.transpose(0, 1)
    return KeysAhead(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1))


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
        UserError: The backbone has one that takes none.
    """
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, PrefixedBackbone):
        return _add_to_rows(backbone, config, seed, tasks, rows is not None)
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
        shape = KeyShape(attention.heads, attention.head_size, attention.head_size)
        if rows is None:
            attention.prefix = Prefix(shape, name, config.length, seed)
        else:
            side: Side = "source" if own.startswith("encoder.") else "target"
            attention.prefix = PrefixByTask(shape, name, config.length, seed, tasks, side, rows)
    return [f"backbone.{own}" for own in found]


def _add_to_rows(
    backbone: PrefixedBackbone, config: PrefixConfig, seed: int, tasks: Sequence[str], by_task: bool
) -> list[str]:
    """The same, where a backbone makes rows of the stream and has attention of its own.

    Raises:
        UserError: It does not tell whose rows are.
    """
    if by_task and not isinstance(backbone, RowedBackbone):
        raise UserError(
            f"model.prefix.per: {type(backbone).__name__} does not tell which rows its attentions read, so keys cannot "
            "differ by task; set model.prefix.per=all"
        )
    names = []
    for own, shape in backbone.attentions().items():
        name = f"backbone.{own}"
        names.append(name)
        if isinstance(backbone, RowedBackbone) and by_task:
            whose = backbone.rows_by_task
            backbone.put_ahead(
                own, PrefixOfRowsByTask(shape, name, config.length, seed, tasks, whose)
            )
        else:
            backbone.put_ahead(own, PrefixOfRows(shape, name, config.length, seed))
    return names
