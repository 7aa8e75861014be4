"""Log-probabilities of reference tokens, given the references before them (teacher forcing)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ofacore.batching.collate import collate
from ofacore.batching.permutation import item_rng
from ofacore.batching.transfer import batch_on
from ofacore.encoding.encoder import Encoder
from ofacore.encoding.filling import is_list
from ofacore.model.universal import UniversalModel
from ofacore.protocols import Batch, Example, RowError
from ofacore.sources.data_errors import BlamingBatch, ColumnError

Scored = list[float] | RowError
"""Numbers of one row, or why the row cannot be used."""


@torch.no_grad()
def reference_log_probs(
    model: UniversalModel,
    encoder: Encoder,
    rows: Sequence[Mapping[str, Any]],
    slot: str,
    batch_size: int = 32,
) -> list[Scored]:
    """For each row the log-probability of every token of ``slot``, the end token included."""
    task = encoder.plan.name
    encoded: list[Example | RowError] = []
    for i, row in enumerate(rows):
        try:
            encoded.append(
                encoder.encode(row, split="test", rng=item_rng(0, task, 0, i), row_id=f"row {i}")
            )
        except RowError as error:
            encoded.append(error)
    usable = [example for example in encoded if isinstance(example, Example)]
    found: list[list[float]] = [[] for _ in usable]
    for start in range(0, len(usable), batch_size):
        _score(model, usable[start : start + batch_size], f"{task}/{slot}", start, found)
    numbers = iter(found)
    return [one if isinstance(one, RowError) else next(numbers) for one in encoded]


def candidate_log_probs(
    model: UniversalModel,
    encoder: Encoder,
    rows: Sequence[Mapping[str, Any]],
    slot: str,
    column: str,
) -> list[Scored]:
    """For each row the log-probability of each value in ``column``, had it been the value of ``slot``.

    A row without the column has none.
    """
    own = encoder.plan.columns.get(slot, slot)
    lists = [_candidates(encoder, row, column) for row in rows]
    asked: list[Mapping[str, Any]] = []
    for row, values in zip(rows, lists, strict=True):
        if not isinstance(values, RowError):
            asked += [{**row, own: value} for value in values]
    scored = iter(reference_log_probs(model, encoder, asked, slot))
    found: list[Scored] = []
    for values in lists:
        if isinstance(values, RowError):
            found.append(values)
        else:
            of_row = [next(scored) for _ in values]
            found.append(_totals(of_row))
    return found


def _candidates(encoder: Encoder, row: Mapping[str, Any], column: str) -> list[Any] | RowError:
    try:
        values = encoder.columns.apply(row).get(column)
    except RowError as error:
        return error
    if values is None:
        return []
    return (
        list(values) if is_list(values) else ColumnError(column, "it holds no list of candidates")
    )


def _totals(scored: Sequence[Scored]) -> Scored:
    """Sums; the first error where there is one."""
    totals: list[float] = []
    for one in scored:
        if isinstance(one, RowError):
            return one
        totals.append(sum(one))
    return totals


def _score(
    model: UniversalModel,
    examples: Sequence[Example],
    term: str,
    start: int,
    found: list[list[float]],
) -> None:
    batch = collate(examples)
    with BlamingBatch(batch.samples):
        _score_batch(model, batch_on(batch, model.device), term, start, found)


def _score_batch(
    model: UniversalModel, batch: Batch, term: str, start: int, found: list[list[float]]
) -> None:
    hidden = model.hidden(batch)
    for group in batch.terms:
        if term in group.terms and "ids" in group.labels:
            prediction = model.predict(group, hidden)
            chosen = prediction.log_probs.gather(1, prediction.local(group.labels["ids"])[:, None])[
                :, 0
            ]
            for name, sample, part in zip(
                group.terms, group.samples, chosen.split(list(group.lengths)), strict=True
            ):
                if name == term:
                    found[start + sample] += part.tolist()
