"""Generator of token slots: search for open values, a choice among the members of closed sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ofacore.errors import UserError
from ofacore.parts.closed_sets import Tries, choose
from ofacore.parts.search import Beam, walk
from ofacore.parts.stepping import Rules, Stepper, feed_tokens
from ofacore.protocols import DecodeSession, GenerationOptions, Options, Produced, RowRequest


class TokenGenerator:
    """Produces open token values by the strategy of the options, and members of closed sets by their probability."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or {}
        self._tries = Tries()

    def __call__(
        self, session: DecodeSession, requests: Sequence[RowRequest], options: GenerationOptions,
        generator: torch.Generator,
    ) -> list[Produced]:  # fmt: skip
        """Candidates for each row, best first; leaves the session behind the best candidate unless ``final``."""
        final = requests[0].final
        slot = requests[0].slot
        if not requests[0].spec.shift:
            problem = "its tokens are predicted at their own places, but generator 'token' writes one after the other"
            raise UserError(f"slot '{slot.name}': {problem}; name another generator under uses")
        used = session if final else session.fork()
        stepper = Stepper(used, requests[0], options, slot.adapter, slot.head)
        if all(request.spec.closed_set for request in requests):
            found = choose(stepper, requests, self._tries)
        else:
            found = _search(stepper, requests, generator)
        produced = [row[: max(1, options.n_best)] for row in found]
        if not final:
            end = np.array([] if stepper.end is None else [stepper.end], np.int64)
            feed_tokens(session, [np.concatenate([row[0].value, end]) for row in produced], slot.adapter)
            if requests[0].last and stepper.end is not None:
                session.pending = None
        return produced


def _search(stepper: Stepper, requests: Sequence[RowRequest], generator: torch.Generator) -> list[Produced]:
    options = stepper.options
    copies = max(1, options.n_best) if options.strategy == "sample" else 1
    expanded = [request for request in requests for _ in range(copies)]
    if copies > 1:
        rows = torch.arange(len(requests))
        stepper.session.reorder(rows.repeat_interleave(copies))
    limits = [stepper.limit(request) for request in expanded]
    rules = Rules(stepper)
    if stepper.end is not None and rules.min_length > min(limits):
        raise UserError(
            f"slot '{requests[0].slot.name}': min_length={rules.min_length} is more than max_length={min(limits)}, "
            "as the slot and the options of generation have them; lower the one or raise the other"
        )
    rules.required = (
        [[phrase.tolist() for phrase in request.required] for request in expanded]
        if any(r.required for r in requests)
        else ()
    )
    if options.strategy not in ("greedy", "sample"):
        return [tuple(row) for row in Beam(stepper, rules, limits).run()]
    rules.limits = limits if rules.required else None
    found = walk(stepper, rules, limits, generator if options.strategy == "sample" else None)
    groups = (found[i * copies : (i + 1) * copies] for i in range(len(requests)))
    return [tuple(sorted(group, key=lambda h: -h.score)) for group in groups]
