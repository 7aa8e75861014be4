"""Choosing from a closed set: the members of a trie, each with its log-probability."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ofacore.components.tokens.stepping import Stepper
from ofacore.components.tokens.trie import Trie, TrieNode
from ofacore.parallel.host_transfer import item_numbers, numbers_on
from ofacore.protocols import Hypothesis, Produced, RowRequest

EXACT_LIMIT = 1000
"""Closed sets up to this size are scored whole; in larger ones the likeliest beginnings are followed."""
_KEPT_TRIES = 8


class Tries:
    """Tries of the closed sets used last, recognised by identity."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int | None], tuple[Sequence[np.ndarray], Trie]] = {}

    def of(self, members: Sequence[np.ndarray], end: int | None) -> Trie:
        """The trie over the ids of all members."""
        key = id(members), end
        if key not in self._known:
            if len(self._known) >= _KEPT_TRIES:
                del self._known[next(iter(self._known))]
            self._known[key] = members, Trie((ids.tolist() for ids in members), end)
        return self._known[key][1]


@dataclass(frozen=True)
class _Prefix:
    """A beginning under which several members remain: its row, its place in the trie, its log-probabilities."""

    row: int
    node: TrieNode
    logs: tuple[float, ...] = ()
    total: float = 0.0


@dataclass
class _Row:
    """What is known of one row's closed set."""

    request: RowRequest
    width: int
    """Most beginnings that are followed at a time."""
    wanted: int
    found: dict[int, _Prefix] = field(default_factory=dict)
    """Number of a member -> its whole prefix."""

    def settle(self, prefix: _Prefix) -> bool:
        """Note the one member that remains below a prefix, if it is one."""
        only = Trie.only(prefix.node)
        if only is not None:
            self.found[only] = prefix
        return only is not None

    def kept(self, waiting: list[_Prefix]) -> list[_Prefix]:
        """Prefixes that may still lead to one of the wanted members: probability only falls on the way down."""
        totals = sorted((prefix.total for prefix in self.found.values()), reverse=True)
        bound = totals[self.wanted - 1] if len(totals) >= self.wanted else -float("inf")
        alive = [prefix for prefix in waiting if prefix.total >= bound]
        if len(alive) <= self.width:
            return alive
        return sorted(alive, key=lambda prefix: -prefix.total)[: self.width]

    def ranked(self, ended: bool) -> Produced:
        """The wanted members, best first; the earlier one of equals."""
        order = sorted(self.found, key=lambda number: (-self.found[number].total, number))
        members = self.request.spec.closed_set
        return tuple(_hypothesis(members[n], self.found[n], ended) for n in order[: self.wanted])


def choose(stepper: Stepper, requests: Sequence[RowRequest], tries: Tries) -> list[Produced]:
    """The ``n_best`` members of every row's closed set with their log-probabilities, best first.

    The probability of a member is the product of its tokens' probabilities, each among the tokens that may follow in
    the trie, as training has it; where one member remains nothing is computed. Options of search have no say, for a
    member is what it is: of a set up to `EXACT_LIMIT` the best members are found for certain, in a larger one the
    ``beam`` likeliest beginnings (at least ``n_best``) are followed.
    """
    rows = [_row(stepper, request) for request in requests]
    roots = [
        _Prefix(i, tries.of(row.request.spec.closed_set, stepper.end).root)
        for i, row in enumerate(rows)
    ]
    waiting = [root for root in roots if not rows[root.row].settle(root)]
    if waiting:
        places = torch.tensor([prefix.row for prefix in waiting])
        if len(waiting) != len(requests):
            stepper.session.reorder(places)
        logits = stepper.start_logits()
        while waiting:
            below = list(_children(stepper, logits, waiting))
            opened = [
                (place, token, child)
                for place, token, child in below
                if not rows[child.row].settle(child)
            ]
            kept = _kept(rows, [child for *_, child in opened])
            opened = [entry for entry in opened if id(entry[2]) in kept]
            waiting = [child for *_, child in opened]
            if waiting:
                tokens = numbers_on([token for _, token, _ in opened], logits.device)
                stepper.session.reorder(torch.tensor([place for place, *_ in opened]))
                logits = stepper.next_logits(tokens)
    return [row.ranked(stepper.end is not None) for row in rows]


def _row(stepper: Stepper, request: RowRequest) -> _Row:
    size, wanted = len(request.spec.closed_set), max(1, stepper.options.n_best)
    width = size if size <= EXACT_LIMIT else max(stepper.options.beam, wanted)
    return _Row(request, width, wanted)


def _children(
    stepper: Stepper, logits: torch.Tensor, waiting: Sequence[_Prefix]
) -> Iterator[tuple[int, int, _Prefix]]:
    """(place of the parent, token, prefix) of everything one token further, read from the device all at once."""
    families = [list(parent.node.children) for parent in waiting]
    sizes = [len(family) for family in families]
    columns = stepper.columns([token for family in families for token in family])
    chosen = logits[item_numbers(sizes, logits.device), columns].cpu().split(sizes)
    for place, parent in enumerate(waiting):
        logs = torch.log_softmax(chosen[place], dim=-1).tolist()
        for token, log in zip(families[place], logs, strict=True):
            child = parent.node.children[token]
            yield place, token, _Prefix(parent.row, child, (*parent.logs, log), parent.total + log)


def _kept(rows: Sequence[_Row], opened: Sequence[_Prefix]) -> set[int]:
    """Identities of the prefixes that are followed further."""
    by_row: dict[int, list[_Prefix]] = {}
    for prefix in opened:
        by_row.setdefault(prefix.row, []).append(prefix)
    return {id(prefix) for row, prefixes in by_row.items() for prefix in rows[row].kept(prefixes)}


def _hypothesis(ids: np.ndarray, prefix: _Prefix, ended: bool) -> Hypothesis:
    """A member; tokens that had no alternative have probability 1."""
    log_probs = np.zeros(len(ids), np.float32)
    known = prefix.logs[: len(ids)]
    log_probs[: len(known)] = known
    return Hypothesis(ids, prefix.total, log_probs, log_prob=prefix.total, tokens=len(ids) + ended)
