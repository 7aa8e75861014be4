"""Writing one target slot of rows for training, which keep the values of their other slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from ofacore.batching.collate import collate
from ofacore.decoding.session import Session
from ofacore.decoding.slots import Row, Tools
from ofacore.decoding.target import generate_target
from ofacore.encoding.encoder import Encoder
from ofacore.plan import TemplatePlan
from ofacore.protocols import (
    Example,
    Generator,
    Produced,
    RowContext,
    SlotPlan,
)


@dataclass
class _Recorded:
    """A generator whose best hypotheses are remembered."""

    inner: Generator
    found: list[np.ndarray] = field(default_factory=list)

    def __call__(self, session: Any, requests: Any, generator: torch.Generator) -> list[Produced]:
        produced = self.inner(session, requests, generator)
        self.found += [row[0].value for row in produced]
        return produced


@torch.no_grad()
def write_slot(
    model: Any,
    encoder: Encoder,
    examples: Sequence[Example],
    contexts: Sequence[RowContext],
    template: TemplatePlan,
    slot: SlotPlan,
    generator: Generator,
) -> list[np.ndarray]:
    """Ids int64 [n] that the model writes into one target slot of each example; other slots keep the row's values.

    Args:
        model: In evaluation mode.
        encoder: Of the task.
        examples: All with a source, or all without.
        contexts: Their rows, each with the generator to draw by.
        template: The template of all of them.
        slot: A token slot outside of any repeat.
        generator: What writes, with its options.
    """
    sources = [Example(one.task, one.row_id, one.source, (), ()) for one in examples]
    side = collate(sources).source if examples[0].source else None
    session = Session(
        model,
        lambda adapter, shape: encoder.geometry[adapter].coordinates(shape),
        side,
        len(examples),
        task=encoder.plan.name,
    )
    slots = {
        place: replace(one, loss=one.loss and one is slot) for place, one in template.slots.items()
    }
    recorded = _Recorded(generator)
    given = frozenset(
        one.name for one in slots.values() if contexts[0].row.get(one.name) is not None
    )
    alone = replace(template, slots=slots)
    tools = Tools(
        alone,
        encoder.preprocessors,
        {slot.generator: recorded},
        torch.Generator(),
        want=given,
        corruptions=encoder.corruptions,
        is_element=encoder.kinds.element_tests,
    )
    generate_target(session, [Row(ctx, ctx.row) for ctx in contexts], tools)
    return recorded.found
