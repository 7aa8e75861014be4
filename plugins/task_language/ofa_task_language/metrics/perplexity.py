"""Perplexity of the references."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from ofacore.protocols import Options


class Perplexity:
    """``perplexity``: exponential of the mean negative log-probability of the references' tokens, over the corpus.

    It judges no decoded values: ``needs`` says that a prediction here is the natural log-probability which the model
    gave to each token of the reference, a sequence of numbers.
    """

    higher_is_better: ClassVar[bool] = False
    needs: ClassVar[str] = "log_probs"

    def __init__(self, options: Options) -> None:
        self._sums: list[float] = []
        self._tokens = 0

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add the log-probabilities of the tokens of each reference.

        Raises:
            ValueError: A prediction is no sequence of log-probabilities, which are numbers not above 0.
        """
        for number, values in enumerate(predictions):
            if isinstance(values, str) or not hasattr(values, "__iter__"):
                found = type(values).__name__
                raise ValueError(
                    f"perplexity, sample {number}: expected log-probabilities of tokens, got {found}"
                )
            numbers = [float(value) for value in values]
            if any(math.isnan(value) or value > 1e-6 for value in numbers):
                raise ValueError(
                    f"perplexity, sample {number}: log-probabilities are numbers not above 0"
                )
            self._sums.append(math.fsum(numbers))
            self._tokens += len(numbers)

    def compute(self) -> dict[str, float]:
        """``perplexity``, 1 or more; nan without tokens, infinite where a token had no probability."""
        if not self._tokens:
            return {"perplexity": math.nan}
        loss = -math.fsum(self._sums) / self._tokens
        return {"perplexity": math.exp(loss) if loss < 700 else math.inf}

    def merge(self, other: Self) -> None:
        """Add what another instance has seen."""
        self._sums += other._sums
        self._tokens += other._tokens

    def items(self) -> Sequence[float]:
        """Empty: the value is no mean over samples."""
        return ()
