"""Whether a target of several positions can be learned: each position its own value, not all of them one mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ofa_kit.bench import COLUMN, WRITE, SlotBench
from ofa_kit.losses import total
from ofacore.batching.collate import collate
from ofacore.protocols import Example, TermItem

STEPS = 40
_RATE = 0.01
APART = 0.05
"""Share by which the loss must be lower for labels in their places than for the same labels turned round."""


def several_positions(bench: SlotBench) -> Example | None:
    """The longest written value whose positions are seen at once and have unequal labels; None where there is none."""
    found: Example | None = None
    for example in bench.examples(WRITE):
        size = _size(example)
        if size > 1 and (found is None or size > _size(found)):
            found = example
    return found


def learned_and_turned(bench: SlotBench, example: Example) -> tuple[float, float]:
    """Losses of one example after some steps on it alone: with its labels in place, and in reverse order."""
    model = bench.model_of(seed=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
    batch = collate([example])
    model.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        total(model, batch).backward()
        optimizer.step()
    model.eval()
    turned = replace(example, terms=tuple(_turned(example, item) for item in example.terms))
    with torch.no_grad():
        return float(total(model, batch)), float(total(model, collate([turned])))


def _size(example: Example) -> int:
    """Most positions with unequal labels among the items of the value; 0 where none can be compared."""
    return max((_length(item) for item in example.terms if _is_compared(example, item)), default=0)


def _is_compared(example: Example, item: TermItem) -> bool:
    pieces = [example.target[number] for number in item.pieces] if item.side == "target" else []
    at_once = all(piece.slot.name == COLUMN and not piece.causal for piece in pieces)
    return bool(pieces) and at_once and any(_differs(labels) for labels in item.labels.values())


def _length(item: TermItem) -> int:
    return max(len(labels) for labels in item.labels.values())


def _differs(labels: Sequence[float] | np.ndarray) -> bool:
    array = np.asarray(labels)
    return len(array) > 1 and not np.array_equal(array, array[::-1])


def _turned(example: Example, item: TermItem) -> TermItem:
    if not _is_compared(example, item):
        return item
    return replace(
        item, labels={name: np.asarray(part)[::-1].copy() for name, part in item.labels.items()}
    )
