"""A row encoded with tokens that the model has written in place of a target value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ofacore.encoding.encoder import Encoder
from ofacore.encoding.filling import Filled, RepeatEnd
from ofacore.encoding.loss_items import TermBuilder
from ofacore.encoding.token_runs import Occurrence, target_sequence
from ofacore.plan import TemplatePlan, criterion_key
from ofacore.protocols import Example, RowContext, SlotPlan, TermItem, TokenSegment


def with_tokens(
    encoder: Encoder,
    example: Example,
    ctx: RowContext,
    template: TemplatePlan,
    slot: SlotPlan,
    ids: np.ndarray,
) -> tuple[Example, tuple[TermItem, ...]]:
    """The example with another target, and the terms on the slot's tokens, which are not yet put into it.

    Args:
        encoder: Of the task.
        example: Gives the source as it was encoded.
        ctx: The row; its generator serves what else stands in the target.
        template: The template that the example was made with.
        slot: Target slot outside of any repeat.
        ids: int64 [n] vocabulary ids without boundaries.
    """
    found = encoder.expand(template, ctx).target
    items = [item for item in found if isinstance(item, RepeatEnd) or item.value is not None]
    encoded = encoder.occurrences(
        [item for item in items if isinstance(item, Filled)], ctx, template
    )
    own = encoded[slot.position, ()]
    part = next(part for part in own.segments if isinstance(part, TokenSegment))
    drawn = replace(part, ids=ids, inputs=None, weights=None, allowed=None)
    encoded = {**encoded, (slot.position, ()): Occurrence(own.item, (drawn,))}
    target = target_sequence(
        [
            item if isinstance(item, RepeatEnd) else encoded[item.slot.position, item.turn]
            for item in items
        ],
        encoder.geometry,
        encoder.settings,
        lambda other: encoder.blocks(other, ctx),
    )
    losses = tuple(
        loss
        for loss in encoder.plan.losses
        if loss.hidden == slot.name and loss.labels == slot.name
    )
    plan = replace(encoder.plan, losses=losses)
    terms = TermBuilder(plan, encoder.criteria, encoder.origins).terms((), target, None, 0)
    own_terms = tuple(
        term for term in terms if rolled_out(encoder, term) and slot_of(term) == slot.name
    )
    return replace(example, target=target.pieces, terms=(), context=None), own_terms


def rolled_out(encoder: Encoder, term: TermItem) -> bool:
    """Whether a term wants sequences that the model has written."""
    key = criterion_key(term.criterion, term.options)
    criterion = encoder.criteria.get(key) or encoder.criteria[term.criterion]
    return "rollout" in criterion.needs


def slot_of(term: TermItem) -> str:
    """Name of the slot that a term ``task/slot`` or ``task/slot/criterion`` is on; names of tasks hold no slash."""
    return term.term.split("/")[1]


def matching(encoder: Encoder, example: Example) -> TemplatePlan:
    """The template that an example was made with: the first one that has all of its slots."""
    pieces = [piece for sequence in (*example.source, example.target) for piece in sequence]
    for template in encoder.plan.templates:
        if all(template.slots.get(piece.slot.position) == piece.slot for piece in pieces):
            return template
    raise AssertionError(f"an example of '{example.task}' fits none of its templates")
