"""The token embedding: one table for all blocks, shared by inputs and, where tied, the output projection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ofacore.ground.vocabulary import CORE, Vocabulary
from ofacore.model.tokens.vocabulary_parts import VocabularyParts
from ofacore.model.weights.initial import fill_normal
from ofacore.parallel.cross_entropy import Columns
from ofacore.parallel.host_transfer import distinct, to_device
from ofacore.parallel.process_groups import tensor_size
from ofacore.parallel.products import Blocked, can_be_blocked
from ofacore.parallel.regions import gathered, summed
from ofacore.parallel.sharding import part_of, whole_tensor
from ofacore.parallel.split_layers import VocabEmbedding


class _Gradient:
    """Collects the gradients of all uses of a table within one backward pass, in one dense tensor."""

    def __init__(self) -> None:
        self.total: Tensor | None = None

    def rows_of(self, like: Tensor) -> Tensor:
        if self.total is None:
            self.total = torch.zeros_like(like)
        return self.total


class _Root(torch.autograd.Function):
    """The table as its uses see it. Runs last in the backward pass and hands over what they collected.

    Each use of an embedding would otherwise make a dense gradient of its own, most of it zeros, to be added up.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, gradient: _Gradient) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.gradient = gradient
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, None]:  # type: ignore[override]
        total, ctx.gradient.total = ctx.gradient.total, None
        if grad is not None:
            total = grad if total is None else total.add_(grad)
        return total, None


class _Lookup(torch.autograd.Function):
    """weight [v, H], ids [n] -> [n, H]; equal ids are added up in fp32."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, gradient: _Gradient) -> Tensor:
        ctx.save_for_backward(weight, ids)
        ctx.gradient = gradient
        return weight.index_select(0, ids)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None]:  # type: ignore[override]
        weight, ids = ctx.saved_tensors
        rows, place = distinct(ids)
        sums = grad.new_zeros(len(rows), grad.shape[1], dtype=torch.float32).index_add_(
            0, place, grad.float()
        )
        ctx.gradient.rows_of(weight).index_add_(0, rows, sums.to(weight.dtype))
        return None, None, None


class _Rows(torch.autograd.Function):
    """Whole blocks of the table, one below the other: weight [v, H] -> [sum of sizes, H]."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, ranges: tuple[range, ...], gradient: _Gradient) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.ranges, ctx.gradient = ranges, gradient
        parts = [weight[part.start : part.stop] for part in ranges]
        return parts[0].view_as(parts[0]) if len(parts) == 1 else torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, None]:  # type: ignore[override]
        (weight,) = ctx.saved_tensors
        gradient = ctx.gradient
        if gradient.total is None and grad.shape == weight.shape:
            gradient.total = grad if getattr(grad, "is_given_away", False) else grad.clone()
            return None, None, None
        total = gradient.rows_of(weight)
        sizes = [len(part) for part in ctx.ranges]
        for part, values in zip(ctx.ranges, grad.split(sizes), strict=True):
            total[part.start : part.stop].add_(values)
        return None, None, None


class TokenEmbedding(nn.Module):
    """Rows for every token of a vocabulary, block by block.

    Args:
        vocabulary: Blocks of this model.
        hidden: Width of the states.
        tied: The output projection uses the same rows; otherwise it has its own.
        seed: Seed of the initial values; each block's depend on its name alone.
        biased: A fixed number is added to the logit of each token.
        silent: Ids of core tokens that have no part in any prediction.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        hidden: int,
        tied: bool = True,
        seed: int = 1,
        biased: bool = False,
        silent: frozenset[int] = frozenset(),
    ) -> None:
        super().__init__()
        self.silent = silent
        self.cap: float | None = None
        """What bounds logits, where a backbone says so; see `TokenPrediction`."""
        self.vocabulary, self.hidden, self.tied, self.seed = vocabulary, hidden, tied, seed
        self.parts = VocabularyParts(vocabulary)
        self.table = VocabEmbedding(self.parts.rows, hidden)
        self.projection = None if tied else VocabEmbedding(self.parts.rows, hidden)
        self.bias: Tensor | None
        bias = torch.zeros(vocabulary.size) if biased else None
        self.register_buffer("bias", bias)
        self._roots: dict[str, tuple[Tensor, _Gradient]] = {}
        self._ids: dict[tuple[str, ...], Tensor] = {}
        self._columns: dict[tuple[str, ...], Columns] = {}
        self._places: tuple[Tensor, Tensor] | None = None
        self.kept_parts: dict[tuple[str, ...], Tensor] | None = None
        """Names of blocks -> their rows of the projection, while weights do not change; None: they may."""
        self.load_portable({})

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__() if hasattr(super(), "__getstate__") else self.__dict__
        return {**state, "_roots": {}}

    def begin(self) -> None:
        """A new forward pass starts: its uses of the table collect their gradients together."""
        self._roots = {}

    def _root(self, name: str, table: VocabEmbedding) -> tuple[Tensor, _Gradient]:
        if name not in self._roots:
            gradient = _Gradient()
            self._roots[name] = (_Root.apply(table.weight, gradient), gradient)
        return self._roots[name]

    def forward(self, ids: Tensor) -> Tensor:
        """Vocabulary ids [n] -> states [n, H]."""
        if tensor_size() == 1:
            return self._rows_of(ids)
        row, mine = self._placed(ids.device)
        return summed(self._rows_of(row[ids]) * mine[ids].unsqueeze(1).to(self.table.weight.dtype))

    def _rows_of(self, rows: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and self.table.weight.requires_grad):
            return self.table.weight.detach().index_select(0, rows)
        weight, gradient = self._root("table", self.table)
        return _Lookup.apply(weight, rows, gradient)  # type: ignore[no-any-return]

    def _placed(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if self._places is None or self._places[0].device != device:
            row, mine = self.parts.table()
            self._places = to_device(row, device), to_device(mine, device)
        return self._places

    def output(self, blocks: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Projection on some blocks and the core tokens.

        Args:
            blocks: Names; the core block is added, order does not matter.

        Returns:
            weight [v, H], and the vocabulary id of each row, int64 [v], ascending.
        """
        weight, ids, columns = self.output_part(blocks)
        return (
            weight if columns is None else gathered(weight, 0).index_select(0, columns.place)
        ), ids

    def output_part(self, blocks: Sequence[str]) -> tuple[Tensor, Tensor, Columns | None]:
        """As `output`, but of the weight only those rows that this process holds, and who holds which.

        With one process that is all of them, and None.
        """
        names = tuple(
            block.name for block in self.vocabulary.blocks if block.name in {CORE.name, *blocks}
        )
        for name in blocks:
            self.vocabulary.offset(name)
        ranges = _merged([self.parts.padded(name) for name in names])
        table = self.table if self.projection is None else self.projection
        ids, columns = self._numbers(names, table.weight.device)
        if not (torch.is_grad_enabled() and table.weight.requires_grad):
            return self._detached(names, table.weight.detach(), ranges), ids, columns
        root = "table" if self.projection is None else "projection"
        weight, gradient = self._root(root, table)
        rows = _Rows.apply(weight, ranges, gradient)
        rows.takes_gradient = True  # saves a copy: see `linear_cross_entropy`
        return rows, ids, columns

    def _detached(self, names: tuple[str, ...], weight: Tensor, ranges: Sequence[range]) -> Tensor:
        """Rows of some blocks, without gradient."""
        kept = {} if self.kept_parts is None else self.kept_parts
        if names not in kept:
            parts = [weight[part.start : part.stop] for part in ranges]
            kept[names] = parts[0] if len(parts) == 1 else torch.cat(parts)
            if self.kept_parts is not None and can_be_blocked(kept[names]):
                kept[names].blocked = Blocked()  # type: ignore[attr-defined]
        return kept[names]

    def _numbers(
        self, names: tuple[str, ...], device: torch.device
    ) -> tuple[Tensor, Columns | None]:
        """Vocabulary ids of some blocks, and who holds them."""
        if names not in self._ids or self._ids[names].device != device:
            ranges = map(self.vocabulary.range, names)
            self._ids[names] = to_device(
                torch.cat([torch.arange(r.start, r.stop) for r in ranges]), device
            )
        ids = self._ids[names]
        if tensor_size() == 1:
            return ids, None
        if names not in self._columns or self._columns[names].place.device != device:
            columns = self.parts.columns(names)
            self._columns[names] = Columns(
                to_device(columns.place, device), to_device(columns.padding, device)
            )
        return ids, self._columns[names]

    def portable_names(self) -> list[str]:
        """Names of `portable_state`."""
        names = [
            block.name + suffix for suffix, _ in self._tables() for block in self.vocabulary.blocks
        ]
        return names + [f"{name}.bias" for name in self.bias_rows()]

    def bias_rows(self) -> dict[str, Tensor]:
        """Block -> its rows of the bias, in the memory of the model; every process has them all. Empty without one."""
        ranges = {block.name: self.vocabulary.range(block.name) for block in self.vocabulary.blocks}
        return (
            {}
            if self.bias is None
            else {name: self.bias[r.start : r.stop] for name, r in ranges.items()}
        )

    def output_bias(self, ids: Tensor) -> Tensor | None:
        """What is added to the logits of vocabulary ids int64 [v], if anything is: [v]."""
        return None if self.bias is None else self.bias[ids]

    def portable_state(self) -> dict[str, Tensor]:
        """``<block>`` (``<block>.output`` if untied, ``<block>.bias`` if biased too) -> its rows, unpadded.

        Those of all processes of the tensor group, which must call this together.
        """
        return {name: self.whole_rows(name).clone() for name in self.portable_names()}

    def whole_rows(self, name: str) -> Tensor:
        """One of `portable_state`, in the memory of the model where this process has all of it.

        Raises:
            KeyError: There is none of that name.
        """
        for block, rows in self.bias_rows().items():
            if name == f"{block}.bias":
                return rows
        for suffix, table in self._tables():
            for each in self.vocabulary.blocks:
                if name == each.name + suffix:
                    own = self.parts.own(each.name)
                    return whole_tensor(table.weight.detach()[own.start : own.stop], 0)
        raise KeyError(name)

    @torch.no_grad()
    def load_portable(self, state: Mapping[str, Tensor]) -> None:
        """Copy rows by block name; blocks without rows in ``state`` get their initial values.

        Raises:
            ValueError: A block has another size or width.
        """
        for suffix, table in self._tables():
            for block in self.vocabulary.blocks:
                rows, shape = self.parts.own(block.name), (block.size, self.hidden)
                name, part = block.name + suffix, table.weight[rows.start : rows.stop]
                if name not in state:
                    fill_normal(part, f"embedding.{name}", shape, self.seed, 0)
                    continue
                values = state[name]
                if values.shape != shape:
                    raise ValueError(
                        f"block '{block.name}': stored rows {tuple(values.shape)}, here {shape}"
                    )
                part.copy_(values[part_of(block.size)])
        for name, own in self.bias_rows().items():
            key = f"{name}.bias"
            if key in state:
                own.copy_(state[key])
            else:
                own.zero_()

    def _tables(self) -> list[tuple[str, VocabEmbedding]]:
        tables = [("", self.table)]
        tables = tables if self.projection is None else [*tables, (".output", self.projection)]
        return [(suffix, table) for suffix, table in tables if table.weight is not None]


def _merged(ranges: list[range]) -> tuple[range, ...]:
    """Adjacent ranges joined, so that the whole table is one range and needs no copy."""
    merged: list[range] = []
    for part in ranges:
        if merged and merged[-1].stop == part.start:
            merged[-1] = range(merged[-1].start, part.stop)
        else:
            merged.append(part)
    return tuple(merged)
