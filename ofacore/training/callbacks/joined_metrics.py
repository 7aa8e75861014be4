"""The metrics of several tasks as one number, by which the best checkpoint is chosen."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

logger = logging.getLogger("ofacore.training")


@dataclass
class JoinedMetrics:
    """The mean over tasks of one metric each, as points from 0 to 1 of which more are better.

    A number that was between 0 and 1 at the first validation counts as it is, an error as what it lacks to 1. Any other
    has no end, so it counts by how far it came from its first value: half a point there, more where it is better.

    Args:
        deciding: Name of a value -> whether higher is better, for the metric of each task; may be filled by validation.

    Attributes:
        first: Name -> value at the first validation: what is joined from then on.
    """

    deciding: Mapping[str, bool] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)

    def __call__(self, values: Mapping[str, float]) -> float | None:
        """The points; None where no task has a metric, nan where one of them was not measured this time."""
        if not self.deciding:  # a run may go on without metrics that it had before
            return None
        if not self.first:
            there = {name: values.get(name, math.nan) for name in self.deciding}
            self.first = {name: value for name, value in there.items() if math.isfinite(value)}
        missing = [name for name in self.first if not math.isfinite(values.get(name, math.nan))]
        if missing:
            logger.warning("not the best checkpoint: %s was not measured", ", ".join(missing))
            return math.nan
        points = [self._points(name, values[name]) for name in self.first]
        return sum(points) / len(points) if points else None

    @property
    def told(self) -> str:
        """What is joined, in words."""
        names = [name.removeprefix("valid/") for name in self.first]
        return names[0] if len(names) == 1 else f"mean of {', '.join(names)}"

    def _points(self, name: str, value: float) -> float:
        first, higher = self.first[name], self.deciding.get(name, True)
        if 0 <= first <= 1:
            return value if higher else 1 - value
        gained = (value - first) / abs(first)
        return 0.5 + 0.5 * math.tanh((gained if higher else -gained) / 2)
