"""What metrics on text share: pairs of a prediction and its references."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, Self

from ofacore.protocols import Options

Pair = tuple[str, tuple[str, ...]]
"""A prediction and one or more references."""
Score = Callable[[str, str], float]

_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")


class PairMetric:
    """Collects pairs; a metric computes something from all of them."""

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self.options = options
        self.pairs: list[Pair] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add predictions, each with its reference or list of references; a missing prediction is the empty text.

        Raises:
            ValueError: Unequal numbers of predictions and references, no reference, or a value that is no text.
        """
        if len(predictions) != len(references):
            raise ValueError(
                f"{self.name}: {len(predictions)} predictions but {len(references)} references"
            )
        for number, (prediction, reference) in enumerate(zip(predictions, references, strict=True)):
            place = f"{self.name}, sample {number}"
            several = reference if isinstance(reference, list | tuple) else [reference]
            if not several or any(one is None for one in several):
                raise ValueError(f"{place}: there is no reference")
            text = "" if prediction is None else as_text(prediction, place)
            self.pairs.append((text, tuple(as_text(one, place) for one in several)))

    def merge(self, other: Self) -> None:
        """Add what another instance has seen."""
        self.pairs += other.pairs

    def items(self) -> Sequence[float]:
        """Empty: the value is no mean over samples."""
        return ()


class MeanMetric(PairMetric):
    """A metric that is the mean of one number for each sample."""

    def sample(self, prediction: str, references: tuple[str, ...]) -> float:
        """The number of one sample."""
        raise NotImplementedError

    def items(self) -> Sequence[float]:
        """The number of each sample."""
        return [self.sample(prediction, references) for prediction, references in self.pairs]

    def compute(self) -> dict[str, float]:
        """The mean under the metric's name; nan where nothing was added."""
        return {self.name: mean(self.items())}


def as_text(value: Any, place: str) -> str:
    """A text or number as text.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, Real) or getattr(value, "shape", None) == ():
        return str(value)
    raise ValueError(f"{place}: expected text, got {type(value).__name__}")


def mean(values: Iterable[float]) -> float:
    """The mean, the same in any order; nan of nothing."""
    numbers = list(values)
    return math.fsum(numbers) / len(numbers) if numbers else math.nan


def normalised(text: str, options: Options) -> str:
    """Blanks joined; with options ``uncased`` and ``no_punctuation`` in lower case and without ASCII punctuation."""
    text = text.lower() if options.get("uncased") else text
    text = _PUNCTUATION.sub("", text) if options.get("no_punctuation") else text
    return " ".join(text.split())
