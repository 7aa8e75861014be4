"""A decode session over a second-order Markov chain: small enough to enumerate every sequence."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ofacore.protocols import HeadContext, RowContext, RowRequest, SlotPlan, TargetSpec

TOKENS = 10  # six core tokens and four of the block "toy"


@dataclass
class Prediction:
    """Logits over all ids."""

    values: Tensor

    @property
    def ids(self) -> Tensor:
        return torch.arange(TOKENS)

    def logits(self) -> Tensor:
        return self.values


class MarkovSession:
    """The next token depends on the last two of its row and on the row's own table."""

    adapter_seen: str = ""
    unconditional = None

    def __init__(self, tables: Tensor) -> None:
        self.tables = tables  # [R, TOKENS, TOKENS, TOKENS]
        self.rows = len(tables)
        self.pending: Tensor | None = None
        self.device = torch.device("cpu")
        self.length = 0
        self.history: list[list[int]] = [[0, 0] for _ in range(self.rows)]

    def step(
        self, features: Mapping[str, Tensor], adapter: str, valid: Tensor | None = None
    ) -> Tensor:
        tokens = features["tokens"].view(self.rows, -1)
        hidden = torch.zeros(self.rows, tokens.shape[1], TOKENS)
        for row in range(self.rows):
            for place, token in enumerate(tokens[row].tolist()):
                if valid is None or bool(valid[row, place]):
                    self.history[row] = [self.history[row][-1], token]
                hidden[row, place] = self.tables[row, self.history[row][0], self.history[row][1]]
        self.length += tokens.shape[1]
        return hidden

    def predict(self, head: str, hidden: Tensor, ctx: HeadContext) -> Prediction:
        return Prediction(hidden)

    def reorder(self, rows: Tensor) -> None:
        self.tables = self.tables[rows]
        self.history = [list(self.history[row]) for row in rows.tolist()]
        self.rows = len(rows)

    def fork(self) -> MarkovSession:
        return copy.deepcopy(self)

    def denoise(self, *args: Any) -> Tensor:
        raise RuntimeError("tokens only")

    commit = denoise


def tables(rows: int, seed: int) -> Tensor:
    """Random logits of a chain, one a row."""
    return (
        torch.randn(rows, TOKENS, TOKENS, TOKENS, generator=torch.Generator().manual_seed(seed)) * 2
    )


def request(
    attributes: Mapping[str, Any] | None = None,
    *,
    last: bool = True,
    final: bool = True,
    **spec: Any,
) -> RowRequest:
    """A request for the slot ``[TOY:x]``."""
    slot = SlotPlan(
        "x", "TOY", "target", 1, "toy", "token", dict(attributes or {}), head="token", loss=True
    )
    context = RowContext({}, "task", "infer", None)  # type: ignore[arg-type]
    return RowRequest(slot, context, TargetSpec(blocks=("toy",), **spec), last=last, final=final)


def enumerate_values(
    table: Tensor, length: int, end: int | None, used: Sequence[int] = (6, 7, 8, 9)
) -> dict[tuple[int, ...], float]:
    """Every value up to ``length`` tokens with its log-probability, the end included."""
    banned = [t for t in range(6) if t not in (end, 3)]
    found: dict[tuple[int, ...], float] = {}
    waiting: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    while waiting:
        prefix, total = waiting.pop()
        context = (0, 0, 0, *prefix)[-2:]
        logs = torch.log_softmax(table[context[0], context[1]], -1)
        if end is not None:
            found[prefix] = total + float(logs[end])
        elif len(prefix) == length:
            found[prefix] = total
        if len(prefix) < length:
            waiting += [
                ((*prefix, t), total + float(logs[t]))
                for t in range(TOKENS)
                if t not in banned and t != end
            ]
    return found
