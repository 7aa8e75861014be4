"""How well each member of a closed set is found: precision, recall, F1, and what is taken for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ofacore.evaluation.predictions import Prediction

Pair = tuple[str, str]
"""Reference and answer."""


@dataclass(frozen=True)
class ClassScore:
    """One class; shares are nan where nothing was there to divide by."""

    name: str
    precision: float
    recall: float
    f1: float
    count: int
    """Rows whose reference it is."""
    answered: int
    """Rows that were answered by it."""


def closed_slots(predictions: Sequence[Prediction]) -> list[str]:
    """Target slots that are chosen from a closed set."""
    return list(dict.fromkeys(name for one in predictions for name in one.closed))


def pairs(predictions: Iterable[Prediction], slot: str) -> list[Pair]:
    """Reference and answer of each row that has both; of several references the one that was met, else the first."""
    found = []
    for one in predictions:
        if slot in one.values and slot in one.references:
            answer = one.values[slot]
            found.append((str(_reference(one.references[slot], answer)), str(answer)))
    return found


def class_scores(given: Sequence[Pair]) -> list[ClassScore]:
    """Every class that is a reference or an answer, the most frequent reference first."""
    right = Counter(reference for reference, answer in given if reference == answer)
    references = Counter(reference for reference, _ in given)
    answers = Counter(answer for _, answer in given)
    names = sorted({*references, *answers}, key=lambda name: (-references[name], name))
    return [_score(name, right[name], references[name], answers[name]) for name in names]


def confusion(given: Sequence[Pair], names: Sequence[str]) -> list[list[int]]:
    """Rows [reference][answer] of counts, over the classes of some names."""
    counts = Counter(given)
    rows = []
    for reference in names:
        rows.append([counts[reference, answer] for answer in names])
    return rows


def confused(given: Sequence[Pair]) -> list[tuple[Pair, int]]:
    """Reference and wrong answer, how often; most often first."""
    counts = Counter(pair for pair in given if pair[0] != pair[1])
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def _reference(given: Any, answer: Any) -> Any:
    """One of several references, whether a list or a mapping to grades."""
    several = list(given) if isinstance(given, list | dict) else [given]
    if isinstance(answer, list) or not several:
        return given
    return answer if answer in several else several[0]


def _score(name: str, right: int, references: int, answers: int) -> ClassScore:
    nan = float("nan")
    precision = right / answers if answers else nan
    recall = right / references if references else nan
    f1 = 2 * right / (answers + references)
    return ClassScore(name, precision, recall, f1, references, answers)
