"""Generator of token slots: search for open values, exact scoring of closed sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ofacore.errors import UserError
from ofacore.parts.search import Beam, walk
from ofacore.parts.stepping import Rules, Stepper, feed_tokens
from ofacore.parts.transfer import item_numbers, to_device
from ofacore.parts.trie import Trie, TrieNode
from ofacore.protocols import DecodeSession, GenerationOptions, Hypothesis, Options, Produced, RowRequest

EXACT_LIMIT = 1000
"""Closed sets up to this size are scored exactly; larger ones by search inside their trie."""


class TokenGenerator:
    """Produces token values by the strategy of the options; every value of a small closed set gets its probability."""

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or {}

    def __call__(
        self, session: DecodeSession, requests: Sequence[RowRequest], options: GenerationOptions,
        generator: torch.Generator,
    ) -> list[Produced]:  # fmt: skip
        """Candidates for each row, best first; leaves the session behind the best candidate unless ``final``."""
        final = requests[0].final
        stepper = Stepper(session if final else session.fork(), requests[0], options)
        sizes = [len(request.spec.closed_set) for request in requests]
        if all(sizes) and max(sizes) <= EXACT_LIMIT:
            found = score_closed_sets(stepper, requests)
        else:
            found = _search(stepper, requests, generator)
        produced = [row[: max(1, options.n_best)] for row in found]
        if not final:
            end = np.array([] if stepper.end is None else [stepper.end], np.int64)
            feed_tokens(session, [np.concatenate([row[0].value, end]) for row in produced])
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
    rules = Rules(stepper, _trie(stepper, expanded))
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


def _trie(stepper: Stepper, requests: Sequence[RowRequest]) -> Trie | None:
    """The trie of a closed set too large to be scored, the same for all rows."""
    values = requests[0].spec.closed_set
    if any(request.spec.closed_set is not values for request in requests[1:]):
        raise ValueError(f"large closed sets of '{requests[0].slot.name}' must be the same for all rows of a batch")
    return Trie([ids.tolist() for ids in values], stepper.end) if values else None


@dataclass(frozen=True)
class _Open:
    """A prefix under which several values remain: which row, where in its trie, its log-probabilities."""

    row: int
    node: TrieNode
    logs: tuple[float, ...]


def score_closed_sets(stepper: Stepper, requests: Sequence[RowRequest]) -> list[Produced]:
    """Every allowed value of every row with its exact log-probability, best first.

    The probability of a value is the product of its tokens' probabilities, each among the tokens that may follow in
    the trie; where one value remains nothing is computed.
    """
    tries: dict[int, Trie] = {}
    for request in requests:
        values = request.spec.closed_set
        if id(values) not in tries:
            tries[id(values)] = Trie([ids.tolist() for ids in values], stepper.end)
    scored: list[dict[int, tuple[float, ...]]] = [{} for _ in requests]
    waiting = [_Open(row, tries[id(request.spec.closed_set)].root, ()) for row, request in enumerate(requests)]
    waiting = [entry for entry in waiting if not _settle(entry, scored)]
    if waiting:
        session_rows = torch.tensor([entry.row for entry in waiting])
        if len(waiting) != len(requests):
            stepper.session.reorder(session_rows)
        scores = stepper.start()
        while waiting:
            waiting, parents, tokens = _descend(stepper, scores, waiting, scored)
            if waiting:
                stepper.session.reorder(parents)
                scores = stepper.next(to_device(tokens, scores.device), None)
    return [_ranked(request, found) for request, found in zip(requests, scored, strict=True)]


def _settle(entry: _Open, scored: list[dict[int, tuple[float, ...]]]) -> bool:
    """Record the one value that remains below a prefix, if it is one."""
    only = Trie.only(entry.node)
    if only is not None:
        scored[entry.row][only] = entry.logs
    return only is not None


def _descend(
    stepper: Stepper, scores: Tensor, waiting: list[_Open], scored: list[dict[int, tuple[float, ...]]]
) -> tuple[list[_Open], Tensor, Tensor]:
    """One token further: (prefixes still open, their parents, their last tokens)."""
    below: list[_Open] = []
    parents: list[int] = []
    tokens: list[int] = []
    families = [list(entry.node.children) for entry in waiting]
    sizes = [len(children) for children in families]
    columns = stepper.columns([token for children in families for token in children])
    chosen = scores[item_numbers(sizes, scores.device), columns].cpu().split(sizes)
    for place, (entry, children) in enumerate(zip(waiting, families, strict=True)):
        logs = torch.log_softmax(chosen[place], dim=-1).tolist()
        for token, log in zip(children, logs, strict=True):
            child = _Open(entry.row, entry.node.children[token], (*entry.logs, log))
            if not _settle(child, scored):
                below.append(child)
                parents.append(place)
                tokens.append(token)
    return below, torch.tensor(parents), torch.tensor(tokens)


def _ranked(request: RowRequest, found: dict[int, tuple[float, ...]]) -> Produced:
    values = request.spec.closed_set
    whole = {number: sum(logs) for number, logs in found.items()}
    order = sorted(whole, key=lambda number: (-whole[number], number))
    return tuple(Hypothesis(values[n], whole[n], np.array(found[n], np.float32)) for n in order)
