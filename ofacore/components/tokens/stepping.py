"""Next-token log-probabilities of one target slot: a decode session seen as tokens, with what may come next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ofacore.components.tokens.search_checks import check_variety
from ofacore.components.tokens.search_options import SearchOptions
from ofacore.ground.vocabulary import BOS, EOS, MASK, PAD, SEP, UNK
from ofacore.parallel.host_transfer import numbers_on
from ofacore.protocols import DecodeSession, HeadContext, RowRequest, seen_as

NEVER = float("-inf")


@dataclass
class Stepper:
    """Feeds tokens of rows R and scores what may follow.

    Columns of every returned [R, V] tensor are the ids of ``ids``: core tokens and the slot's blocks.
    """

    session: DecodeSession
    request: RowRequest
    options: SearchOptions
    adapter: str = "token"
    head: str = "token"
    ids: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))
    total: Tensor = field(default_factory=lambda: torch.zeros(0))
    """With ``repetition_penalty``: what was taken off the logits [R] of the last step."""

    @property
    def end(self) -> int | None:
        """Token that ends the slot; None for fixed-length slots."""
        if not self.request.spec.open:
            return None
        return EOS if self.request.last else SEP

    def limit(self, row: RowRequest) -> int:
        """Most tokens of a value, the end not counted."""
        length = row.spec.length
        attribute = row.slot.attributes.get("max_length")
        most = (
            self.options.max_length
            if attribute is None
            else min(self.options.max_length, int(attribute))
        )
        return length if length is not None else most

    def start(self) -> Tensor:
        """Log-probabilities [R, V] of the first token."""
        return self._allowed(self.start_logits())

    def next(self, tokens: Tensor, alive: Tensor | None) -> Tensor:
        """Append tokens int64 [R]; log-probabilities [R, V]. Rows that are not ``alive`` leave no trace."""
        return self._allowed(self.next_logits(tokens, alive))

    def start_logits(self) -> Tensor:
        """fp32 [R, V] of the first token, whatever it is."""
        pending = self.session.pending
        if pending is None:
            pending = begin_run(self.session, self.adapter)
        return self.next_logits(pending)

    def next_logits(self, tokens: Tensor, alive: Tensor | None = None) -> Tensor:
        """Append tokens int64 [R]; fp32 [R, V] of what follows, whatever it is."""
        valid = None if alive is None else alive[:, None]
        hidden = self.session.step({"tokens": tokens}, self.adapter, valid)[:, -1]
        context = HeadContext((1,) * len(tokens), self.request.spec.blocks)
        prediction = self.session.predict(self.head, hidden, context)
        if prediction.ids is not self.ids:
            self._remember(prediction.ids)
        logits: Tensor = prediction.logits().float()
        return logits

    def _allowed(self, logits: Tensor) -> Tensor:
        """Log-probabilities, with tokens that no value has at minus infinity."""
        scores = torch.log_softmax(logits, dim=-1)
        if len(self._ends):
            column = self.column(EOS)
            likeliest = scores[:, self._ends].amax(-1)
            scores[:, column] = torch.maximum(scores[:, column], likeliest)
            scores[:, self._ends] = NEVER
        if self.options.repetition_penalty != 1.0:
            self.total = torch.logsumexp(logits, dim=-1)
        scores[:, self._banned] = NEVER
        if self.options.unk_penalty:
            scores[:, self.column(UNK)] -= self.options.unk_penalty
        return scores

    @property
    def choices(self) -> int:
        """How many different tokens a value may have; known behind the first step."""
        ends = (self.end is not None) + len(self._ends)
        return len(self.ids) - len(self._banned) - ends

    def _remember(self, ids: Tensor) -> None:
        """Which column each id has, looked up anew only when a prediction brings other ids."""
        self.ids = ids
        self._sorted, self._order = torch.sort(ids)
        self._columns: dict[int, int] = {}
        never = {BOS, PAD, MASK, EOS, SEP}
        if self.options.core_tokens:
            never = {EOS, SEP} if self.options.pad_tokens else {PAD, EOS, SEP}
        self.known = frozenset(ids.tolist())
        ends = seen_as(DecodeSession, self.session).end_ids if self.end == EOS else ()
        self._ends = self.columns(sorted(set(ends) & self.known))
        never |= {ids[0] for ids in self.options.banned_tokens if len(ids) == 1}
        self._banned = self.columns(sorted((never - {self.end}) & self.known))

    def column(self, token: int) -> int:
        """Column of a vocabulary id."""
        if token not in self._columns:
            self._columns[token] = int(self.columns([token])[0])
        return self._columns[token]

    def columns(self, tokens: Sequence[int]) -> Tensor:
        """Columns int64 [n] of vocabulary ids."""
        wanted = numbers_on(list(tokens), self.ids.device)
        return self._order[torch.searchsorted(self._sorted, wanted)]


class Rules:
    """What a partial value rules out: length limits, repeated n-grams, an end before all phrases."""

    def __init__(self, stepper: Stepper) -> None:
        self.stepper, self.options = stepper, stepper.options
        attribute = stepper.request.slot.attributes.get("min_length")
        session = stepper.session
        self.begun = (
            tuple(seen_as(DecodeSession, session).start_ids) if session.pending is None else ()
        )
        """What the run began with: it counts where n-grams must not repeat, as in fairseq and transformers."""
        self.min_length = max(self.options.min_length, int(attribute or 0))
        self.limits: Sequence[int] | None = None
        """Most tokens of each row's value: an open slot that is that long can only end."""
        self.required: Sequence[Sequence[Sequence[int]]] = ()
        """For each row, phrases that its value must contain."""
        self._checked = False

    def __call__(self, scores: Tensor, prefixes: Sequence[Sequence[int]]) -> Tensor:
        """Scores [R, V] with what may not follow the prefixes set to minus infinity. Changes its argument.

        Raises:
            UserError: No value is as long as it must be without repeating an n-gram.
        """
        if not self._checked:
            needed = max(self.min_length, self.stepper.request.spec.length or 0)
            check_variety(
                self.stepper.request.slot.name,
                needed,
                self.options.no_repeat_ngram,
                self.stepper.choices,
            )
            self._checked = True
        end, before = self.stepper.end, scores.clone() if self._may_block else None
        early = [row for row, prefix in enumerate(prefixes) if len(prefix) < self.min_length]
        if end is not None and early:
            scores[numbers_on(early, scores.device), self.stepper.column(end)] = NEVER
        sequences = [ids for ids in self.options.banned_tokens if len(ids) > 1]
        for row, prefix in enumerate(prefixes):
            if self.options.repetition_penalty != 1.0:
                self._penalise(scores[row], [*self.begun, *prefix], row)
            if sequences:
                self._ban(scores[row], [*self.begun, *prefix], sequences)
            if self.options.no_repeat_ngram:
                banned = _repeats([*self.begun, *prefix], self.options.no_repeat_ngram)
                if banned:
                    scores[row, self.stepper.columns(banned)] = NEVER
            if self.required:
                self._keep_required(scores[row], prefix, row)
            if end is not None and self.limits is not None and len(prefix) >= self.limits[row]:
                self._force_end(scores[row], end)
        if before is not None:
            self._reopen(scores, before, prefixes)
        return scores

    def _penalise(self, scores: Tensor, text: Sequence[int], row: int) -> None:
        """Lower the scores of tokens that the text holds (Keskar et al. 2019).

        A beam's scores are log-probabilities; where one token is taken or drawn, logits are meant, as in transformers.
        """
        columns = self.stepper.columns(sorted(set(text) & self.stepper.known))
        shift = (
            0.0 if self.options.strategy not in ("greedy", "sample") else self.stepper.total[row]
        )
        found, penalty = scores[columns] + shift, self.options.repetition_penalty
        scores[columns] = torch.where(found < 0, found * penalty, found / penalty) - shift

    def _ban(self, scores: Tensor, text: Sequence[int], sequences: Sequence[Sequence[int]]) -> None:
        """Rule out the last token of each sequence whose other tokens the text ends with."""
        ends = {
            ids[-1]
            for ids in sequences
            if len(text) >= len(ids) - 1 and tuple(text[1 - len(ids) :]) == tuple(ids[:-1])
        }
        banned = sorted(ends & self.stepper.known)
        if banned:
            scores[self.stepper.columns(banned)] = NEVER

    @property
    def _may_block(self) -> bool:
        """Whether the rules together may rule out everything."""
        return bool(self.options.no_repeat_ngram or self.options.banned_tokens or self.required)

    def _reopen(self, scores: Tensor, before: Tensor, prefixes: Sequence[Sequence[int]]) -> None:
        """Where nothing may follow: what a phrase needs, else the end, else, for want of one, anything."""
        end = self.stepper.end
        for row in torch.isneginf(scores).all(-1).nonzero()[:, 0].tolist():
            allowed = self.missing(prefixes[row], row)[:1] or ([] if end is None else [end])
            columns = self.stepper.columns(allowed) if allowed else slice(None)
            scores[row, columns] = before[row, columns]

    def _force_end(self, scores: Tensor, end: int) -> None:
        self._keep(scores, [end])
        if self.options.forced_end == "free":
            scores[self.stepper.column(end)] = 0.0

    def missing(self, prefix: Sequence[int], row: int) -> list[int]:
        """Tokens still needed for the row's phrases, the one in progress first."""
        needed: list[int] = []
        for phrase in self.required[row] if self.required else ():
            met = _progress(prefix, phrase)
            needed = [*phrase[met:], *needed] if 0 < met < len(phrase) else [*needed, *phrase[met:]]
        return needed

    def _keep_required(self, scores: Tensor, prefix: Sequence[int], row: int) -> None:
        needed = self.missing(prefix, row)
        if needed and self.stepper.end is not None:
            scores[self.stepper.column(self.stepper.end)] = NEVER
        unmet = [phrase for phrase in self.required[row] if _progress(prefix, phrase) < len(phrase)]
        room = None if self.limits is None else self.limits[row] - len(prefix)
        if needed and room is not None and room <= sum(len(phrase) for phrase in unmet):
            self._keep(scores, needed[:1])

    def _keep(self, scores: Tensor, tokens: Sequence[int]) -> None:
        columns = self.stepper.columns(tokens)
        kept = scores[columns]
        scores.fill_(NEVER)
        scores[columns] = kept


def begin_run(session: DecodeSession, adapter: str = "token") -> Tensor:
    """Feed what a run begins with, all but the last token, which is returned: int64 [R]."""
    *before, last = seen_as(DecodeSession, session).start_ids
    for token in before:
        session.step({"tokens": torch.full((session.rows,), token, device=session.device)}, adapter)
    return torch.full((session.rows,), last, device=session.device)


def feed_tokens(
    session: DecodeSession, values: Sequence[np.ndarray], adapter: str = "token"
) -> None:
    """Append given tokens, one array int64 [n_r] a row; the last of each row becomes pending."""
    longest = max((len(value) for value in values), default=0)
    if longest == 0:
        return
    first = (begin_run(session, adapter) if session.pending is None else session.pending).cpu()
    inputs = torch.full((session.rows, longest), PAD)
    last = first.clone()
    for row, value in enumerate(values):
        if len(value):
            inputs[row, : len(value)] = torch.cat(
                [first[row : row + 1], torch.from_numpy(np.asarray(value[:-1]))]
            )
            last[row] = int(value[-1])
    valid = torch.arange(longest)[None] < torch.tensor([len(value) for value in values])[:, None]
    marked = None if valid.all() else valid.to(session.device)
    session.step({"tokens": inputs.flatten().to(session.device)}, adapter, marked)
    session.pending = last.to(session.device)


def _progress(prefix: Sequence[int], phrase: Sequence[int]) -> int:
    """How many tokens of a phrase the prefix has met: all if it occurs, else those that its end matches."""
    text, wanted = list(prefix), list(phrase)
    if any(text[i : i + len(wanted)] == wanted for i in range(len(text) - len(wanted) + 1)):
        return len(wanted)
    return next((n for n in range(len(wanted) - 1, 0, -1) if text[-n:] == wanted[:n]), 0)


def _repeats(prefix: Sequence[int], n: int) -> list[int]:
    """Tokens that would complete an n-gram that the prefix already holds."""
    if len(prefix) < n:
        return []
    tail = tuple(prefix[len(prefix) - n + 1 :])
    grams = (tuple(prefix[i : i + n]) for i in range(len(prefix) - n + 1))
    return [gram[-1] for gram in grams if gram[:-1] == tail]
