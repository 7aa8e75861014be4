"""Generator of token slots: search for open values, a choice among the members of closed sets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ofacore.components.row_numbers import row_generators
from ofacore.components.tokens.closed_set_choice import Tries, choose
from ofacore.components.tokens.search import Beam, walk
from ofacore.components.tokens.search_checks import check_search_of
from ofacore.components.tokens.search_options import SearchOptions
from ofacore.components.tokens.stepping import Rules, Stepper, feed_tokens
from ofacore.ground.errors import UserError
from ofacore.protocols import DecodeSession, Options, Produced, RowRequest, SlotPlan, Vocabulary

logger = logging.getLogger(__name__)
_CUT = "slot '%s': an answer was cut at %d tokens, as the model has positions for no more; %d were asked for"


class TokenGenerator:
    """Produces open token values by the strategy of the options, and members of closed sets by their probability.

    Its options are those of `SEARCH_OPTIONS`; any that is missing has its default.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.search = SearchOptions.of(options or {})
        self._tries = Tries()

    def check_request(self, request: RowRequest, vocabulary: Vocabulary) -> None:
        """Refuse options that no value of a request can meet.

        Raises:
            UserError: Phrases do not fit into the value, or it is too long not to repeat an n-gram.
        """
        check_search_of(request, self.search, vocabulary)

    def __call__(
        self,
        session: DecodeSession,
        requests: Sequence[RowRequest],
        generator: torch.Generator,
    ) -> list[Produced]:
        """Candidates for each row, best first; leaves the session behind the best candidate unless ``final``."""
        final = requests[0].final
        slot = requests[0].slot
        if not requests[0].spec.shift:
            problem = "its tokens are predicted at their own places, but generator 'token' writes one after the other"
            raise UserError(f"slot '{slot.name}': {problem}; name another generator under uses")
        search = _within_room(self.search, requests[0], session)
        used = session if final else session.fork()
        stepper = Stepper(used, requests[0], search, slot.adapter, slot.head)
        if all(request.spec.closed_set for request in requests):
            found = choose(stepper, requests, self._tries)
        else:
            found = _search(stepper, requests)
            _tell_of_cuts(
                self.search, search, requests[0].slot, [len(row[0].value) for row in found]
            )
        produced = [row[: search.n_best] for row in found]
        if not final:
            ends = [] if stepper.end is None else [stepper.end]
            end = np.array(ends, np.int64)
            feed_tokens(
                session, [np.concatenate([row[0].value, end]) for row in produced], slot.adapter
            )
            if requests[0].last and stepper.end is not None:
                session.pending = None
        return produced


def _within_room(
    search: SearchOptions, request: RowRequest, session: DecodeSession
) -> SearchOptions:
    """The options, for values no longer than the model has positions for."""
    if request.spec.coordinates is not None:
        return search
    room = getattr(session, "room", None)
    most = min(
        search.max_length, int(request.slot.attributes.get("max_length") or search.max_length)
    )
    return search if room is None or most <= room else replace(search, max_length=room)


def _tell_of_cuts(
    asked: SearchOptions, search: SearchOptions, slot: SlotPlan, lengths: Sequence[int]
) -> None:
    """Warn of values that are as long as they may be by `_within_room`, and were asked to be longer."""
    if search is not asked and any(length >= search.max_length for length in lengths):
        logger.warning(_CUT, slot.name, search.max_length, asked.max_length)


def _search(stepper: Stepper, requests: Sequence[RowRequest]) -> list[Produced]:
    options = stepper.options
    copies = options.n_best if options.strategy == "sample" else 1
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
    if any(request.required for request in requests):
        rules.required = [_phrases(request) for request in expanded]
    if options.strategy not in ("greedy", "sample"):
        return [tuple(row) for row in Beam(stepper, rules, limits).run()]
    rules.limits = limits if rules.required else None
    drawing = row_generators(expanded) if options.strategy == "sample" else None
    found = walk(stepper, rules, limits, drawing)
    groups = (found[i * copies : (i + 1) * copies] for i in range(len(requests)))
    return [tuple(sorted(group, key=lambda h: -h.score)) for group in groups]


def _phrases(request: RowRequest) -> list[list[int]]:
    return [phrase.tolist() for phrase in request.required]
