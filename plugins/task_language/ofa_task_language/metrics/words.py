"""Metrics on whole answers and their words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ofa_task_language.metrics.pairs import MeanMetric, as_text, mean, normalised
from ofacore.protocols import Options


class ExactMatch(MeanMetric):
    """``exact_match``: share of predictions equal to a reference.

    Blanks are joined on both sides; options ``uncased`` and ``no_punctuation`` forgive more.
    """

    name = "exact_match"

    def sample(self, prediction: str, references: tuple[str, ...]) -> float:
        """1 if equal, else 0."""
        return float(
            normalised(prediction, self.options)
            in {normalised(one, self.options) for one in references}
        )


class TokenF1(MeanMetric):
    """``token_f1``: F1 of the words of prediction and reference as bags, the best over the references (SQuAD)."""

    name = "token_f1"

    def sample(self, prediction: str, references: tuple[str, ...]) -> float:
        """F1 of one answer; two empty texts are equal."""
        words = normalised(prediction, self.options).split()
        return max(_bag_f1(words, normalised(one, self.options).split()) for one in references)


class VqaScore:
    """``vqa_score``: how much people agree with the answer (Antol et al. 2015).

    A reference is a mapping from answer to confidence; or all answers that people gave, of which three make an answer
    right; or the only right answer.
    """

    name = "vqa_score"
    higher_is_better = True

    def __init__(self, options: Options) -> None:
        self._options = options
        self._items: list[float] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add answers with their references.

        Raises:
            ValueError: Unequal numbers of predictions and references, or a reference of another kind.
        """
        if len(predictions) != len(references):
            raise ValueError(
                f"{self.name}: {len(predictions)} predictions but {len(references)} references"
            )
        for number, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
            place = f"{self.name}, sample {number}"
            answer = "" if prediction is None else self._normal(prediction, place)
            self._items.append(self._confidences(reference, place).get(answer, 0.0))

    def compute(self) -> dict[str, float]:
        """``vqa_score``; nan where nothing was added."""
        return {self.name: mean(self._items)}

    def merge(self, other: Self) -> None:
        """Add what another instance has seen."""
        self._items += other._items

    def items(self) -> Sequence[float]:
        """The confidence of each answer."""
        return self._items

    def _confidences(self, reference: Any, place: str) -> dict[str, float]:
        if isinstance(reference, Mapping):
            return self._of_mapping(reference, place)
        answers = list(reference) if isinstance(reference, list | tuple) else [reference]
        if not answers or any(one is None for one in answers):
            raise ValueError(f"{place}: there is no reference")
        needed = min(3, len(answers))
        counts = Counter(self._normal(one, place) for one in answers)
        return {answer: min(1.0, count / needed) for answer, count in counts.items()}

    def _of_mapping(self, reference: Mapping[Any, Any], place: str) -> dict[str, float]:
        confidences: dict[str, float] = {}
        for answer, confidence in reference.items():
            if not isinstance(confidence, int | float) or not math.isfinite(confidence):
                raise ValueError(
                    f"{place}: the confidence of '{answer}' is {confidence!r}, not a number"
                )
            key = self._normal(answer, place)
            confidences[key] = max(float(confidence), confidences.get(key, 0.0))
        return confidences

    def _normal(self, value: Any, place: str) -> str:
        return normalised(as_text(value, place), self._options)


def _bag_f1(ours: list[str], theirs: list[str]) -> float:
    shared = sum((Counter(ours) & Counter(theirs)).values())
    if not ours or not theirs:
        return float(ours == theirs)
    return 2 * shared / (len(ours) + len(theirs))
