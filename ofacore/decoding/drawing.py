"""Drawing tokens for training: each row by its own generator, so that what is drawn depends on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ofacore.batching.collate import collate
from ofacore.components.tokens.search_options import SearchOptions
from ofacore.components.tokens.stepping import Rules, Stepper, feed_tokens
from ofacore.components.tokens.token_generator import tell_of_cuts, within_room
from ofacore.decoding.session import Session
from ofacore.decoding.target import Row, Tools, generate_target
from ofacore.encoding.encoder import Encoder
from ofacore.plan import TemplatePlan
from ofacore.protocols import (
    DecodeSession,
    Example,
    Generator,
    Hypothesis,
    Options,
    Produced,
    RowContext,
    RowRequest,
    SlotPlan,
)


class DrawnTokens:
    """Generator of token slots: draws from the model's distribution with the numbers of each row's ``ctx.rng``."""

    def __init__(self, options: Options) -> None:
        self._search = SearchOptions.of(options)

    def __call__(
        self,
        session: DecodeSession,
        requests: Sequence[RowRequest],
        generator: torch.Generator,
    ) -> list[Produced]:
        """One candidate for each row."""
        slot, used = requests[0].slot, session if requests[0].final else session.fork()
        options = within_room(self._search, requests[0], session)
        stepper = Stepper(used, requests[0], options, slot.adapter, slot.head)
        rules, limits = Rules(stepper), [stepper.limit(request) for request in requests]
        values: list[list[int]] = [[] for _ in requests]
        alive = [limit > 0 for limit in limits]
        scores = stepper.start()
        while any(alive):
            tokens = stepper.ids[
                drawn_columns(rules(scores, values) / options.temperature, requests, alive)
            ]
            for row, token in enumerate(tokens.tolist()):
                if alive[row]:
                    values[row] += [] if token == stepper.end else [token]
                    alive[row] = token != stepper.end and len(values[row]) < limits[row]
            if any(alive):
                going = None if all(alive) else torch.tensor(alive, device=tokens.device)
                scores = stepper.next(tokens, going)
        found = [np.array(value, np.int64) for value in values]
        tell_of_cuts(self._search, options, requests[0].slot, [len(value) for value in found])
        if not requests[0].final:
            ends = [] if stepper.end is None else [stepper.end]
            end = np.array(ends, np.int64)
            feed_tokens(session, [np.concatenate([value, end]) for value in found], slot.adapter)
            session.pending = (
                None if requests[0].last and stepper.end is not None else session.pending
            )
        return [(Hypothesis(value),) for value in found]


def drawn_columns(scores: Tensor, requests: Sequence[RowRequest], alive: Sequence[bool]) -> Tensor:
    """Columns int64 [R] by inversion of the distribution function; one number for each row that is still written."""
    heights = torch.tensor(
        [r.ctx.rng.random() if lives else 0.0 for r, lives in zip(requests, alive, strict=True)]
    )
    sums = scores.double().softmax(-1).cumsum(-1)
    wanted = heights.double().to(sums.device) * sums[:, -1]
    return torch.searchsorted(sums, wanted[:, None], right=True)[:, 0].clamp(
        max=scores.shape[-1] - 1
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
