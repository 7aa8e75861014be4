"""Numbers judged by their distance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ofa_modality_structured.metrics.collecting import MeanMetric


class AbsoluteError(MeanMetric):
    """``absolute_error``: distance of the predicted number from the nearest reference, the mean over samples.

    A prediction that is no number is as far off as 0 would be.
    """

    name = "absolute_error"
    higher_is_better = False

    def sample(self, prediction: Any, references: Sequence[Any], row: Mapping[str, Any]) -> float:
        """The distance, in the unit of the numbers.

        Raises:
            ValueError: A reference is no finite number.
        """
        right = [as_number(reference) for reference in references]
        numbers = [number for number in right if number is not None]
        if len(numbers) < len(right):
            problem = f"the reference {references!r:.60} is no finite number"
            raise ValueError(
                f"{self.name}: {problem}; write 1234.5, without a unit or a separator of thousands"
            )
        given = as_number(prediction)
        place = 0.0 if given is None else given
        return min(abs(place - number) for number in numbers)


def as_number(value: Any) -> float | None:
    """A finite number, of a number or of a text that is one; None of anything else."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
