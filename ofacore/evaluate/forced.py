"""Log-probabilities of reference tokens, given the references before them (teacher forcing)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ofacore.data.collate import collate
from ofacore.data.encode import Encoder
from ofacore.data.permutation import item_rng
from ofacore.model.universal import UniversalModel
from ofacore.parts.batch_transfer import batch_on
from ofacore.protocols import Example


@torch.no_grad()
def reference_log_probs(
    model: UniversalModel, encoder: Encoder, rows: Sequence[Mapping[str, Any]], slot: str, batch_size: int = 32
) -> list[list[float]]:
    """For each row the log-probability of every token of ``slot``, the end token included.

    Raises:
        EncodeError: A row cannot be used.
    """
    task = encoder.plan.name
    examples = [
        encoder.encode(row, split="test", rng=item_rng(0, task, 0, i), row_id=f"row {i}") for i, row in enumerate(rows)
    ]
    found: list[list[float]] = [[] for _ in rows]
    for start in range(0, len(examples), batch_size):
        _score(model, examples[start : start + batch_size], f"{task}/{slot}", start, found)
    return found


def candidate_log_probs(
    model: UniversalModel, encoder: Encoder, rows: Sequence[Mapping[str, Any]], slot: str, column: str
) -> list[list[float]]:
    """For each row the log-probability of each value in ``column``, had it been the value of ``slot``.

    A row without the column has none.

    Raises:
        EncodeError: A row or a candidate cannot be used.
        ValueError: A column holds something else than a list.
    """
    own = encoder.plan.columns.get(slot, slot)
    for number, row in enumerate(rows):
        if not isinstance(row.get(column) or [], list | tuple):
            raise ValueError(f"sample {number}: column '{column}' holds no list of candidates")
    asked = [{**row, own: value} for row in rows for value in row.get(column) or ()]
    totals = iter([sum(tokens) for tokens in reference_log_probs(model, encoder, asked, slot)])
    return [[next(totals) for _ in row.get(column) or ()] for row in rows]


def _score(model: UniversalModel, examples: Sequence[Example], term: str, start: int, found: list[list[float]]) -> None:
    batch = collate(examples)
    batch = batch_on(batch, model.device)
    hidden = model.hidden(batch)
    for group in batch.terms:
        if term in group.terms and "ids" in group.labels:
            prediction = model.predict(group, hidden)
            chosen = prediction.log_probs.gather(1, prediction.local(group.labels["ids"])[:, None])[:, 0]
            for name, sample, part in zip(group.terms, group.samples, chosen.split(list(group.lengths)), strict=True):
                if name == term:
                    found[start + sample] += part.tolist()
