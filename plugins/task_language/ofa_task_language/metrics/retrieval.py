"""Is the right one of several candidates ranked first?"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from ofacore.protocols import Options


@dataclass(frozen=True)
class _Ranked:
    """One sample: candidates, their log-probabilities, the right one."""

    candidates: tuple[str, ...]
    scores: tuple[float, ...]
    right: str


class Retrieval:
    """``retrieval``: share of samples whose reference has the highest score among the row's candidates.

    It judges no decoded values: ``needs`` says that a prediction here is the natural log-probability which the model
    gives to each of the values in the row's column ``candidates``, a sequence of numbers. A value's score is its
    log-probability less the mean of those that it has wherever it is a candidate: what is likely whatever the source
    shall not win. Where a row has candidates that no other row has, nothing is known of what is usual for them, and its
    log-probabilities are compared as they are. What has no probability in a row comes last there. Of several that are
    equally good each has its share of the 1. Chance is one over the number of candidates.

    Options:
        candidates: Column with the list of candidates, the reference among them; default ``candidates``.
    """

    higher_is_better: ClassVar[bool] = True
    needs: ClassVar[str] = "candidates"

    def __init__(self, options: Options) -> None:
        self.candidates = str(options.get("candidates", "candidates"))
        self._samples: list[_Ranked] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add the candidates' log-probabilities; rows without candidates are passed over.

        Raises:
            ValueError: The reference is none of a row's candidates, or numbers are missing.
        """
        for number, (scores, right, row) in enumerate(
            zip(predictions, references, rows, strict=True)
        ):
            if row.get(self.candidates) is None:
                continue
            candidates = tuple(str(value) for value in row[self.candidates])
            if str(right) not in candidates:
                raise ValueError(
                    f"retrieval, sample {number}: column '{self.candidates}' does not list the reference"
                )
            numbers = (
                []
                if isinstance(scores, str) or not hasattr(scores, "__iter__")
                else [float(s) for s in scores]
            )
            if len(numbers) != len(candidates) or any(math.isnan(score) for score in numbers):
                raise ValueError(
                    f"retrieval, sample {number}: expected {len(candidates)} log-probabilities"
                )
            self._samples.append(_Ranked(candidates, tuple(numbers), str(right)))

    def compute(self) -> dict[str, float]:
        """``retrieval``, 0 to 1; nan where no row has candidates."""
        found = self.items()
        return {"retrieval": math.fsum(found) / len(found) if found else math.nan}

    def merge(self, other: Self) -> None:
        """Add what another instance has seen."""
        self._samples += other._samples

    def items(self) -> Sequence[float]:
        """1 for each sample whose reference comes first, a share where others are as good, else 0."""
        seen: dict[str, list[float]] = defaultdict(list)
        for sample in self._samples:
            for value, score in zip(sample.candidates, sample.scores, strict=True):
                seen[value].append(score)
        usual = {value: _usual(scores) for value, scores in seen.items()}
        known = {value for value, scores in seen.items() if len(scores) > 1}
        shares = []
        for sample in self._samples:
            comparable = known.issuperset(sample.candidates)
            means = usual if comparable else {}
            shares.append(_share(sample, means))
        return shares


def _usual(scores: list[float]) -> float:
    """The mean of the log-probabilities of a value where it is possible; 0 where it never is."""
    possible = [score for score in scores if score > -math.inf]
    return math.fsum(possible) / len(possible) if possible else 0.0


def _share(sample: _Ranked, usual: Mapping[str, float]) -> float:
    """The share of the right one among those that come first."""
    scores: dict[str, float] = {}
    for value, score in zip(sample.candidates, sample.scores, strict=True):
        scores[value] = score - usual.get(value, 0.0)
    best = max(scores.values())
    first = [value for value, score in scores.items() if score == best]
    return float(sample.right in first) / len(first)
