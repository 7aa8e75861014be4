"""From log-probabilities of each position to token sequences: the likeliest path, and prefix beam search."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

NEVER = -np.inf
BLANK = 0


@dataclass(frozen=True)
class Found:
    """A sequence and its log-probability, over the alignments that were looked at."""

    columns: tuple[int, ...]
    log_prob: float


def best_path(log_probs: np.ndarray) -> Found:
    """The likeliest column of each position of float [positions, 1 + v], repeats and blanks left out."""
    best = log_probs.argmax(axis=1)
    kept = [
        int(column)
        for number, column in enumerate(best)
        if column != BLANK and (number == 0 or column != best[number - 1])
    ]
    return Found(tuple(kept), float(log_probs.max(axis=1).sum()))


@dataclass
class _Ends:
    """Log-probabilities of all alignments of a prefix, by what they end with."""

    blank: float = NEVER
    label: float = NEVER

    @property
    def total(self) -> float:
        return float(np.logaddexp(self.blank, self.label))


@dataclass
class _Beam:
    """Prefixes that are being collected at one position."""

    ends: dict[tuple[int, ...], _Ends] = field(default_factory=dict)

    def add_blank(self, prefix: tuple[int, ...], log_prob: float) -> None:
        own = self.ends.setdefault(prefix, _Ends())
        own.blank = float(np.logaddexp(own.blank, log_prob))

    def add_label(self, prefix: tuple[int, ...], log_prob: float) -> None:
        own = self.ends.setdefault(prefix, _Ends())
        own.label = float(np.logaddexp(own.label, log_prob))

    def best(self, number: int) -> list[tuple[tuple[int, ...], _Ends]]:
        """The likeliest prefixes that are possible, ties by their columns."""
        possible = [item for item in self.ends.items() if item[1].total > NEVER]
        return sorted(possible, key=lambda item: (-item[1].total, item[0]))[:number]


def prefix_beam(log_probs: np.ndarray, beam: int, tokens: int = 20) -> list[Found]:
    """The likeliest sequences over all their alignments (Hannun et al. 2014), best first.

    Args:
        log_probs: float [positions, 1 + v]; column 0 is the blank.
        beam: Prefixes that are kept.
        tokens: Tokens that may follow at each position: the likeliest.
    """
    kept: list[tuple[tuple[int, ...], _Ends]] = [((), _Ends(blank=0.0))]
    for row in log_probs:
        likely = _likeliest(row, tokens)
        grown = _Beam()
        for prefix, ends in kept:
            _grow(grown, prefix, ends, row, likely)
        kept = grown.best(beam)
    return [Found(prefix, ends.total) for prefix, ends in kept]


def _likeliest(row: np.ndarray, number: int) -> list[int]:
    """Columns without the blank, by falling probability."""
    order = np.argsort(-row[1:], kind="stable")[:number] + 1
    return [int(column) for column in order]


def _grow(
    grown: _Beam, prefix: tuple[int, ...], ends: _Ends, row: np.ndarray, likely: list[int]
) -> None:
    """All ways in which a prefix goes on at one position."""
    grown.add_blank(prefix, ends.total + float(row[BLANK]))
    for column in likely:
        own = float(row[column])
        longer = (*prefix, column)
        if prefix and prefix[-1] == column:
            grown.add_label(prefix, ends.label + own)
            grown.add_label(longer, ends.blank + own)
        else:
            grown.add_label(longer, ends.total + own)
    if prefix and prefix[-1] not in likely:
        grown.add_label(prefix, ends.label + float(row[prefix[-1]]))
