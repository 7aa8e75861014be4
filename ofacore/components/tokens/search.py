"""Searching for token sequences: greedy, sampling, beam search and its diverse variants.

Scores are sums of log-probabilities divided by ``length ** length_penalty``, the end token counted. The temperature
changes what is drawn, not what it is worth: log-probabilities are always the model's own, but in a beam that goes by
scores with a penalty on repetitions. Diverse beam search after
Vijayakumar et al. (2018), diverse siblings after Li et al. (2016), nucleus sampling after Holtzman et al. (2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from ofacore.components.tokens.search_options import SearchOptions
from ofacore.components.tokens.stepping import NEVER, Rules, Stepper
from ofacore.parallel.host_transfer import numbers_on, to_device
from ofacore.protocols import DecodeSession, Hypothesis, seen_as


def score(total: float, length: int, penalty: float) -> float:
    """Length-normalised score of a sum of log-probabilities."""
    return total / max(length, 1) ** penalty


def walk(
    stepper: Stepper,
    rules: Rules,
    limits: Sequence[int],
    generators: Sequence[torch.Generator] | None,
) -> list[Hypothesis]:
    """One hypothesis for each row of the session: the most likely next token, or a drawn one.

    Args:
        limits: Most tokens of each row's value.
        generators: Of each row: draws tokens by ``temperature``, ``top_k``, ``top_p``; None takes the most likely.
    """
    rows, options = stepper.session.rows, stepper.options
    values: list[list[int]] = [[] for _ in range(rows)]
    logs: list[list[float]] = [[] for _ in range(rows)]
    finished = [limit == 0 for limit in limits]
    scores = stepper.start() if not all(finished) else None
    while scores is not None:
        own = scores if options.repetition_penalty == 1.0 else scores.clone()
        scores = rules(scores, values)
        columns = scores.argmax(-1)
        if generators is not None:
            columns = _draw(scores, options, generators, finished)
        tokens = stepper.ids[columns]
        taken, read = _read(own.gather(1, columns[:, None])[:, 0], tokens)
        for row, token in enumerate(map(int, read)):
            if not finished[row]:
                logs[row].append(taken[row])
                ended = token == stepper.end
                values[row] += [] if ended else [token]
                finished[row] = ended or (stepper.end is None and len(values[row]) >= limits[row])
        finished = [
            done or len(value) >= limit
            for done, value, limit in zip(finished, values, limits, strict=True)
        ]
        if all(finished):
            break
        alive = (
            numbers_on([not done for done in finished], tokens.device) if any(finished) else None
        )
        scores = stepper.next(tokens, alive)
    return [_hypothesis(v, x, options) for v, x in zip(values, logs, strict=True)]


def _read(*tensors: Tensor) -> list[list[float]]:
    """The numbers of tensors of one dimension, from the device all at once; whole numbers up to 2^53 are exact."""
    numbers: list[float] = torch.cat([tensor.double() for tensor in tensors]).tolist()
    ends = list(accumulate(len(tensor) for tensor in tensors))
    return [numbers[begin:end] for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def _hypothesis(value: Sequence[int], logs: Sequence[float], options: SearchOptions) -> Hypothesis:
    return _scored(score(sum(logs), len(logs), options.length_penalty), value, logs)


def _scored(rating: float, value: Sequence[int], logs: Sequence[float]) -> Hypothesis:
    """A value, rated, with the log-probabilities of its tokens and its end."""
    log_probs = np.array(logs[: len(value)], np.float32)
    return Hypothesis(
        np.array(value, np.int64), rating, log_probs, log_prob=sum(logs), tokens=len(logs)
    )


def _draw(
    scores: Tensor,
    options: SearchOptions,
    generators: Sequence[torch.Generator],
    finished: Sequence[bool],
) -> Tensor:
    """Columns int64 [R] drawn from the tempered and truncated distribution; rows that are finished draw nothing."""
    kept = scores / options.temperature
    if options.top_k:
        least = kept.topk(min(options.top_k, kept.shape[-1]), dim=-1).values[:, -1:]
        kept = kept.masked_fill(kept < least, NEVER)
    if options.top_p < 1:
        ordered, order = kept.softmax(-1).sort(dim=-1, descending=True)
        beyond = ordered.cumsum(-1) - ordered >= options.top_p
        kept = kept.masked_fill(torch.zeros_like(beyond).scatter(1, order, beyond), NEVER)
    rates = kept.softmax(-1)
    noise = torch.ones(rates.shape)
    for own, generator, done in zip(noise, generators, finished, strict=True):
        if not done:
            own.exponential_(generator=generator)
    return (rates / to_device(noise, rates.device)).argmax(-1)  # as torch.multinomial draws


class Beam:
    """Beam search over all rows of a session at once; the session's rows become ``rows * beam``."""

    def __init__(self, stepper: Stepper, rules: Rules, limits: Sequence[int]) -> None:
        self.stepper, self.rules, self.options = stepper, rules, stepper.options
        self.rows, self.width = len(limits), stepper.options.beam
        self.limits = limits
        self.forced = len(seen_as(DecodeSession, stepper.session).start_ids) - 1
        if self.options.forced_end != "none" or rules.required:
            rules.limits = [limit for limit in limits for _ in range(self.width)]
        rules.required = [phrases for phrases in rules.required for _ in range(self.width)]
        self.groups = stepper.options.groups if stepper.options.strategy == "diverse_beam" else 1
        if self.width % self.groups:
            raise ValueError(
                f"beam={self.width} cannot be cut into groups={self.groups} of equal size"
            )
        self.done: list[list[tuple[float, list[int], list[float]]]] = [[] for _ in limits]

    def run(self) -> list[list[Hypothesis]]:
        """Up to ``beam`` hypotheses for each row, best first."""
        session, width = self.stepper.session, self.width
        start = torch.arange(self.rows).repeat_interleave(width)
        session.reorder(start)
        totals = torch.full((self.rows, width), NEVER, device=session.device)
        totals[:, :: width // self.groups] = 0.0  # one live beam a group at first
        values: list[list[int]] = [[] for _ in start]
        logs: list[list[float]] = [[] for _ in start]
        scores = self.stepper.start()
        while True:
            scores = self.rules(scores, values).view(self.rows, width, -1)
            chosen, parents, totals, ended = self._choose(scores, totals, values)
            flat = (
                parents + torch.arange(self.rows, device=parents.device)[:, None] * width
            ).flatten()
            taken = scores.view(self.rows * width, -1)[flat, chosen.flatten()]
            tokens = self.stepper.ids[chosen.flatten()]
            found = _read(
                flat, taken, tokens, totals.flatten(), *(part.flatten() for part in ended)
            )
            places, sums = [int(place) for place in found[0]], found[3]
            self._finish_ended(found[4:], values, logs)
            values = [[*values[p], int(t)] for p, t in zip(places, found[2], strict=True)]
            logs = [[*logs[p], x] for p, x in zip(places, found[1], strict=True)]
            self._finish_full(sums, values, logs)
            self._drop_finished(sums, len(values[0]))
            if not any(map(math.isfinite, sums)):
                return [self._ranked(row) for row in range(self.rows)]
            over = numbers_on([total == NEVER for total in sums], totals.device).view_as(totals)
            totals = totals.masked_fill(over, NEVER)
            session.reorder(torch.tensor(places))
            scores = self.stepper.next(tokens, None)

    def _choose(
        self, scores: Tensor, totals: Tensor, values: list[list[int]]
    ) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """(columns, parent beams, totals), each [rows, beam], and for each group what `_finish_ended` needs."""
        size = self.width // self.groups
        width = scores.shape[-1] if self.groups > 1 else 0
        used = torch.zeros(self.rows, width, device=scores.device)
        parts, ended = [], []
        for group in range(self.groups):
            span = slice(group * size, (group + 1) * size)
            *part, ends = self._choose_group(
                scores[:, span], totals[:, span], used, span.start, values
            )
            if self.groups > 1:
                used.scatter_add_(1, part[0], torch.ones_like(part[2]))
            parts.append(part)
            ended.append(ends)
        columns, parents, sums = (torch.cat(x, 1) for x in zip(*parts, strict=True))
        return columns, parents, sums, ended

    def _choose_group(
        self, scores: Tensor, totals: Tensor, used: Tensor, first: int, values: list[list[int]]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same of one group, whose first beam is ``first``."""
        size, columns = scores.shape[1], scores.shape[-1]
        rated = scores - self.options.diversity * used[:, None] if self.groups > 1 else scores
        best = self._best(rated, totals)
        if self.rules.required:
            best = self._with_required(best, rated, totals, values)
        parents, picked = best // columns, best % columns
        total = totals.gather(1, parents) + scores.flatten(1).gather(1, best)
        ends = (
            torch.zeros_like(picked, dtype=torch.bool)
            if self.stepper.end is None
            else picked == self.stepper.column(self.stepper.end)
        )
        log = scores.flatten(1).gather(1, best)
        ended = torch.stack(
            [ends.double(), parents.double() + first, total.double(), log.double()], 2
        )[:, :size]
        total = total.masked_fill(ends, NEVER)
        order = _first(ends | torch.isinf(total), size)
        return (
            picked.gather(1, order),
            parents.gather(1, order) + first,
            total.gather(1, order),
            ended,
        )

    def _finish_ended(
        self, ended: list[list[float]], values: list[list[int]], logs: list[list[float]]
    ) -> None:
        """Put hypotheses aside that end here; for each group [rows, places, (ends, parent, total, log)], flat."""
        for numbers in ended:
            entries = [numbers[start : start + 4] for start in range(0, len(numbers), 4)]
            for number, (ends, parent, total, log) in enumerate(entries):
                row = number // (len(entries) // self.rows)
                beam = row * self.width + int(parent)
                if ends and total > NEVER:
                    self._finish(row, total, values[beam], [*logs[beam], log])

    def _best(self, rated: Tensor, totals: Tensor) -> Tensor:
        """Best candidates [rows, 2 * size] as ``beam * columns + column``: of each beam's best, the best of all."""
        size, columns = rated.shape[1], rated.shape[2]
        own, column = rated.topk(min(2 * size, columns), dim=-1)
        if self.options.strategy == "diverse_siblings":
            own = own - self.options.diversity * torch.arange(own.shape[-1], device=own.device)
        count = min(2 * size, size * columns)
        among = (totals[:, :, None] + own).flatten(1).topk(count, dim=-1).indices
        numbers = column + columns * torch.arange(size, device=column.device)[:, None]
        return numbers.flatten(1).gather(1, among)

    def _with_required(
        self, best: Tensor, rated: Tensor, totals: Tensor, values: list[list[int]]
    ) -> Tensor:
        """Candidates with those ahead that advance a phrase."""
        size, columns = rated.shape[1], rated.shape[2]
        for row in range(self.rows):
            needs = [
                self.rules.missing(values[row * self.width + b], row * self.width + b)
                for b in range(size)
            ]
            ahead = [b * columns + self.stepper.column(n[0]) for b, n in enumerate(needs) if n]
            flat = (totals[row, :, None] + rated[row]).flatten()
            ahead = sorted((x for x in ahead if flat[x] > NEVER), key=lambda x: float(-flat[x]))[
                : max(1, size // 2)
            ]
            rest = [x for x in best[row].tolist() if x not in ahead]
            best[row] = torch.tensor([*ahead, *rest][: best.shape[1]], device=best.device)
        return best

    def _finish(self, row: int, total: float, value: list[int], logs: list[float]) -> None:
        done = self.done[row]
        if any(known == value for _, known, _ in done):  # another group came to the same end
            return
        if len(done) < self.width or not self.options.early_stopping:
            done.append((self._score(total, len(logs)), value, logs))
            self.done[row] = sorted(done, key=lambda entry: -entry[0])[: self.width]

    def _score(self, total: float, length: int) -> float:
        """Length-normalised; forced tokens that every value begins with count."""
        return score(total, length + self.forced, self.options.length_penalty)

    def _best_score(self, total: float, length: int, limit: int) -> float:
        """What an open candidate of so many tokens may still reach.

        As it stands; with ``exhaustive``, where longer values score higher, as if it were as long as can be.
        """
        if self.options.exhaustive and self.options.length_penalty > 0:
            length = limit + (self.options.forced_end != "none")
        return self._score(total, length)

    def _finish_full(
        self, totals: list[float], values: list[list[int]], logs: list[list[float]]
    ) -> None:
        """Fixed-length slots end at their length, open ones too where no end token is forced. Changes ``totals``."""
        if self.stepper.end is not None and self.options.forced_end != "none":
            return
        for row, limit in enumerate(self.limits):
            for beam in range(self.width):
                place = row * self.width + beam
                if len(values[place]) >= limit and math.isfinite(totals[place]):
                    self._finish(row, totals[place], values[place], logs[place])
                    totals[place] = NEVER

    def _drop_finished(self, totals: list[float], length: int) -> None:
        """Rows with enough hypotheses stop; without ``early_stopping`` only if no open one is better than the worst.

        Changes ``totals``.
        """
        for row, (done, limit) in enumerate(zip(self.done, self.limits, strict=True)):
            own = slice(row * self.width, (row + 1) * self.width)
            if len(done) < self.width:
                continue
            hopeless = self._best_score(max(totals[own]), length, limit) <= done[-1][0]
            if self.options.early_stopping or hopeless:
                totals[own] = [NEVER] * self.width

    def _ranked(self, row: int) -> list[Hypothesis]:
        ranked = sorted(self.done[row], key=lambda entry: -entry[0])
        return [_scored(rating, value, logs) for rating, value, logs in ranked]


def _first(ends: Tensor, size: int) -> Tensor:
    """Places [rows, size] of the first candidates that do not end, in order of rating."""
    places = torch.arange(ends.shape[1], device=ends.device).expand_as(ends)
    return (places + ends * ends.shape[1]).argsort(-1)[:, :size]
