"""Error rates: edits by the length of the references, over the whole corpus."""

from __future__ import annotations

import math
from typing import Any

from ofa_task_language.metrics.pairs import PairMetric, normalised


class _ErrorRate(PairMetric):
    """Substitutions, deletions and insertions of all samples, divided by the length of all references.

    Of several references the one with the lowest rate counts.
    """

    higher_is_better = False

    def compare(self, reference: str, prediction: str) -> Any:
        """jiwer's alignment of one sample."""
        raise NotImplementedError

    def compute(self) -> dict[str, float]:
        """The rate under the metric's name; nan where the references are empty."""
        errors = length = 0
        for prediction, references in self.pairs:
            best = min((self._errors(reference, prediction) for reference in references), key=_rate)
            errors, length = errors + best[0], length + best[1]
        return {self.name: errors / length if length else math.nan}

    def _errors(self, reference: str, prediction: str) -> tuple[int, int]:
        """(edits, length of the reference)."""
        reference, prediction = (normalised(text, self.options) for text in (reference, prediction))
        found = self.compare(reference, prediction)
        return (
            found.substitutions + found.deletions + found.insertions,
            found.hits + found.substitutions + found.deletions,
        )


class WordErrorRate(_ErrorRate):
    """``wer``: over words. Options ``uncased`` and ``no_punctuation``."""

    name = "wer"

    def compare(self, reference: str, prediction: str) -> Any:
        """Alignment of words."""
        from jiwer import process_words

        return process_words(reference, prediction)


class CharacterErrorRate(_ErrorRate):
    """``cer``: over characters, blanks among them. Options ``uncased`` and ``no_punctuation``."""

    name = "cer"

    def compare(self, reference: str, prediction: str) -> Any:
        """Alignment of characters."""
        from jiwer import process_characters

        return process_characters(reference, prediction)


class PhonemeErrorRate(WordErrorRate):
    """``per``: over phonemes, written with blanks between: ``HH AH L OW``."""

    name = "per"


def _rate(errors_and_length: tuple[int, int]) -> tuple[float, int]:
    errors, length = errors_and_length
    if length:
        return errors / length, errors
    rate = math.inf if errors else 0.0
    return rate, errors
