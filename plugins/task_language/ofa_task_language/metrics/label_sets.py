"""F1 of rows that have several labels, as a repeat gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from ofa_task_language.metrics.pairs import as_text, mean
from ofacore.protocols import Options

Counts = tuple[int, int, int]
"""Labels that are right, that were predicted, and that the reference has."""


class MultilabelF1:
    """``multilabel_f1``: harmonic mean of precision and recall of labels, in any order and each counted once.

    Option ``average``: ``samples`` (the default), the mean over rows; ``micro``, over all labels of all rows at once;
    ``macro``, the mean over the labels that occur in the references. A row without labels is right where none is given.
    """

    higher_is_better: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self._average = str(options.get("average") or "samples")
        self.pairs: list[tuple[frozenset[str], frozenset[str]]] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add lists of labels; a missing prediction is an empty one.

        Raises:
            ValueError: Unequal numbers of predictions and references, or one that is no list of labels.
        """
        if len(predictions) != len(references):
            raise ValueError(
                f"multilabel_f1: {len(predictions)} predictions but {len(references)} references"
            )
        for number, (given, right) in enumerate(zip(predictions, references, strict=True)):
            place = f"multilabel_f1, sample {number}"
            found = () if given is None else given
            self.pairs.append((_labels(found, place), _labels(right, place)))

    def merge(self, other: Self) -> None:
        """Add what another instance has seen."""
        self.pairs += other.pairs

    def items(self) -> Sequence[float]:
        """The F1 of each row, where the value is their mean."""
        if self._average != "samples":
            return ()
        return [_f1(_counts(given, right)) for given, right in self.pairs]

    def compute(self) -> dict[str, float]:
        """``multilabel_f1``; nan where nothing was added."""
        if self._average == "samples":
            return {"multilabel_f1": mean(self.items())}
        if self._average == "micro":
            rows = [_counts(given, right) for given, right in self.pairs]
            return {"multilabel_f1": _f1(_total(rows)) if rows else float("nan")}
        labels = sorted({label for _, right in self.pairs for label in right})
        return {"multilabel_f1": mean(_f1(self._of_label(label)) for label in labels)}

    def _of_label(self, label: str) -> Counts:
        return _total([_counts(given & {label}, right & {label}) for given, right in self.pairs])


def _labels(value: Any, place: str) -> frozenset[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(
            f"{place}: expected the list of labels of a repeat, as in ([TEXT:labels])*, got {type(value).__name__}"
        )
    return frozenset(as_text(label, place) for label in value)


def _counts(given: frozenset[str], right: frozenset[str]) -> Counts:
    return len(given & right), len(given), len(right)


def _total(counts: Sequence[Counts]) -> Counts:
    right, given, wanted = (sum(column) for column in zip(*counts, strict=True))
    return right, given, wanted


def _f1(counts: Counts) -> float:
    right, given, wanted = counts
    return 2 * right / (given + wanted) if given + wanted else 1.0
