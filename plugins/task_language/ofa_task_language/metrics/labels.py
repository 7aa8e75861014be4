"""Metrics on labels: accuracy, F1, Matthews correlation."""

from __future__ import annotations

import math
from collections.abc import Set

from ofa_task_language.metrics.pairs import MeanMetric, PairMetric
from ofacore.protocols import Options


class Accuracy(MeanMetric):
    """``accuracy``: share of predictions that equal the reference (one of them) letter by letter."""

    name = "accuracy"

    def sample(self, prediction: str, references: tuple[str, ...]) -> float:
        """1 if right, else 0."""
        return float(prediction in references)


class _LabelMetric(PairMetric):
    """Compares lists of labels; of several references the one that was predicted counts, else the first."""

    def labels(self) -> tuple[list[str], list[str]]:
        """(references, predictions); with option ``positive`` that label and "" for all others."""
        expected = [
            prediction if prediction in refs else refs[0] for prediction, refs in self.pairs
        ]
        predicted = [prediction for prediction, _ in self.pairs]
        positive = str(self.options.get("positive", ""))
        if positive:
            check_spelling(self.name, positive, {*expected, *predicted})
            expected = [label if label == positive else "" for label in expected]
            predicted = [label if label == positive else "" for label in predicted]
        return expected, predicted


def check_spelling(name: str, positive: str, labels: Set[str]) -> None:
    """Refuse a positive label that no sample has, where one has it in another case or with other blanks.

    Raises:
        ValueError: Names the label that was probably meant.
    """
    plain = " ".join(positive.lower().split())
    alike = [label for label in sorted(labels) if " ".join(label.lower().split()) == plain]
    if alike and positive not in labels:
        raise ValueError(
            f"{name}: option positive is '{positive}', but the label is written '{alike[0]}'"
        )


class F1(_LabelMetric):
    """``f1``: harmonic mean of precision and recall.

    With option ``positive`` that of this label, written as the slot writes it. Otherwise the average over the labels
    that occur in the references, by option ``average``: ``macro`` (the default), ``micro`` or ``weighted``. What is
    never predicted counts 0.
    """

    name = "f1"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._average = str(options.get("average") or "macro")
        if self._average not in ("macro", "micro", "weighted"):
            raise ValueError(
                f"f1: option average is '{self._average}'; expected macro, micro or weighted"
            )

    def compute(self) -> dict[str, float]:
        """``f1``; nan where nothing was added."""
        from sklearn.metrics import f1_score

        if not self.pairs:
            return {self.name: math.nan}
        expected, predicted = self.labels()
        labels = (
            [str(self.options["positive"])]
            if self.options.get("positive")
            else sorted(set(expected))
        )
        value = f1_score(expected, predicted, labels=labels, average=self._average, zero_division=0)
        return {self.name: float(value)}


class Matthews(_LabelMetric):
    """``matthews``: correlation of predicted and true labels, -1 to 1 (Matthews 1975; Gorodkin 2004 for many labels).

    With option ``positive``, that label against all others.
    """

    name = "matthews"

    def compute(self) -> dict[str, float]:
        """``matthews``; 0 where either side has one label only, nan where nothing was added."""
        from sklearn.metrics import matthews_corrcoef

        expected, predicted = self.labels()
        if not self.pairs or min(len(set(expected)), len(set(predicted))) < 2:
            return {self.name: 0.0 if self.pairs else math.nan}
        return {self.name: float(matthews_corrcoef(expected, predicted))}
