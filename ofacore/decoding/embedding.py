"""Embeddings of rows: the mean of the encoder's states over each row's source, or what a contrast has trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofacore.batching.collate import collate
from ofacore.batching.permutation import stable_key
from ofacore.batching.transfer import batch_on
from ofacore.decoding.session import DecodingModel
from ofacore.encoding.encoder import Encoder
from ofacore.encoding.filling import leaves, source_branches
from ofacore.ground.errors import UserError
from ofacore.plan import TemplatePlan
from ofacore.protocols import Batch, Example, HeadContext, Layout, RowError

Rows = Sequence[Mapping[str, Any]]


@torch.no_grad()
def embed_rows(
    model: DecodingModel, encoder: Encoder, rows: Rows, batch_size: int, slot: str = ""
) -> Tensor:
    """fp32 [rows, H]; of a contrast what its head gives, [rows, size].

    Args:
        model: In evaluation mode.
        encoder: Of the task.
        rows: Slot or column name -> value.
        batch_size: Rows that go through the encoder together.
        slot: Side of a contrast; empty: the only one that the rows have.

    Raises:
        RowError: A row has an empty source.
        UserError: ``slot`` is no side of a contrast, or is needed and missing.
    """
    embedding = _Embedding(model, encoder, _template(encoder, rows, slot))
    starts = range(0, len(rows), batch_size)
    vectors = [embedding(rows[start : start + batch_size], start) for start in starts]
    return torch.cat(vectors) if vectors else torch.zeros(0, 0)


Vectors = tuple[np.ndarray, np.ndarray]
"""float32 [size] of the left and the right side of a contrast."""


@torch.no_grad()
def embed_sides(
    model: DecodingModel, encoder: Encoder, rows: Rows, batch_size: int = 64
) -> list[Vectors | RowError]:
    """Vectors of both sides of each row of a contrast, or why the row cannot be used.

    Args:
        model: In evaluation mode.
        encoder: Of the task; its first template has the contrast.
        rows: Slot or column name -> value.
        batch_size: Rows that go through the encoder together.
    """
    template = encoder.plan.templates[0]
    two = [_Embedding(model, encoder, _one_side(template, side)) for side in (0, 1)]
    examples = [_both(two, row, number) for number, row in enumerate(rows)]
    usable = [pair for pair in examples if not isinstance(pair, RowError)]
    sides = []
    for place, embedding in enumerate(two):
        own = [pair[place] for pair in usable]
        sides.append(_in_batches(embedding, own, batch_size))
    vectors = zip(*sides, strict=True)
    return [pair if isinstance(pair, RowError) else next(vectors) for pair in examples]


def _in_batches(embedding: _Embedding, examples: Sequence[Example], batch_size: int) -> np.ndarray:
    """float32 [examples, size]; [0, 0] without any."""
    starts = range(0, len(examples), batch_size)
    parts = [embedding.vectors(examples[start : start + batch_size]) for start in starts]
    if not parts:
        return np.zeros((0, 0), np.float32)
    return torch.cat(parts).cpu().numpy()


def _both(
    two: Sequence[_Embedding], row: Mapping[str, Any], number: int
) -> tuple[Example, Example] | RowError:
    left, right = two
    try:
        return left.example(row, number), right.example(row, number)
    except RowError as error:
        return error


@dataclass(frozen=True)
class _Embedding:
    """Vectors of rows of one template."""

    model: DecodingModel
    encoder: Encoder
    template: TemplatePlan

    def __call__(self, rows: Rows, first: int) -> Tensor:
        return self.vectors([self.example(row, number) for number, row in enumerate(rows, first)])

    def example(self, row: Mapping[str, Any], number: int) -> Example:
        rng = np.random.default_rng(stable_key("embed", number))
        request = self.encoder.encode_request(
            row, rng=rng, row_id=f"row {number}", template=self.template
        )
        found = len(request.source.source)
        if found != 1:
            raise RowError(
                f"row {number}: an embedding needs exactly one source, this row has {found}"
            )
        return request.source

    def vectors(self, examples: Sequence[Example]) -> Tensor:
        batch = Batch(collate(examples).source, None, (), ())
        device = getattr(self.model, "device", None)
        if device is not None:
            batch = batch_on(batch, device)
        side = batch.source
        assert side is not None
        hidden = self.model.hidden(batch).source
        contrast = self.encoder.plan.contrast
        if contrast is None:
            return _means(hidden.float(), side.layout, len(examples))
        return self._of_head(contrast.head, hidden, side.layout, len(examples))

    def _of_head(self, head: str, hidden: Tensor, layout: Layout, rows: int) -> Tensor:
        order = torch.argsort(layout.sequence, stable=True)
        lengths = torch.bincount(layout.sequence, minlength=rows).tolist()
        vectors: Tensor = self.model.heads[head](hidden[order], HeadContext(tuple(lengths)))
        return vectors.float()


def _means(hidden: Tensor, layout: Layout, rows: int) -> Tensor:
    totals = hidden.new_zeros(rows, hidden.shape[-1]).index_add_(0, layout.sequence, hidden)
    return totals / torch.bincount(layout.sequence, minlength=rows)[:, None]


def _template(encoder: Encoder, rows: Rows, slot: str) -> TemplatePlan:
    """The first template; of a contrast, one side of it alone."""
    template, columns = encoder.plan.templates[0], encoder.plan.columns
    if template.contrast is None:
        if slot:
            raise UserError(
                f"slot='{slot}' chooses a side of a contrast, and '{template.text}' has none"
            )
        return template
    sides = (template.contrast.left.name, template.contrast.right.name)
    if not slot:
        given = [name for name in sides if _is_given(name, rows, columns)]
        if len(given) != 1:
            raise UserError(
                f"which side is to be embedded? Give slot='{sides[0]}' or slot='{sides[1]}'"
            )
        (slot,) = given
    if slot not in sides:
        raise UserError(
            f"slot='{slot}' is no side of this contrast; its sides are {' and '.join(sides)}"
        )
    return _one_side(template, sides.index(slot))


def _is_given(name: str, rows: Rows, columns: Mapping[str, str]) -> bool:
    return any(_has(row, name, columns) for row in rows)


def _has(row: Mapping[str, Any], name: str, columns: Mapping[str, str]) -> bool:
    return row.get(name) is not None or row.get(columns.get(name, name)) is not None


def _one_side(template: TemplatePlan, side: int) -> TemplatePlan:
    """The template with one slot in place of the contrast; the row need not have the other."""
    branch = source_branches(template.tree.source)[side]
    kept = {leaf.position for leaf in leaves(branch)}
    slots = {position: plan for position, plan in template.slots.items() if position in kept}
    return replace(
        template,
        text=f"{template.text} (side {side})",
        tree=replace(template.tree, source=branch),
        slots=slots,
    )
