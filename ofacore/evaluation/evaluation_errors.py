"""What can go wrong while a model is scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ofacore.ground.errors import UserError
from ofacore.plugin import MetricUse

if TYPE_CHECKING:
    from ofacore.evaluation.report import ScoreRow


class MetricError(UserError):
    """A metric cannot judge the values of its slot.

    Attributes:
        task: Name of the task.
        use: The metric and its slot.
        reason: What the metric said, on one line.
    """

    def __init__(self, task: str, use: MetricUse, error: BaseException) -> None:
        self.task, self.use, self.reason = task, use, reason_of(error)
        super().__init__(
            f"task '{task}', metric '{use.metric}' on slot '{use.slot}': {self.reason}; under tasks.{task}.metrics "
            f"choose a metric that fits the values of '{use.slot}', or take this one out"
        )


class EvaluationError(UserError):
    """Some metrics could not be computed; everything else was.

    Attributes:
        failures: One for each metric that failed.
        scores: All rows, those that were not scored among them.
    """

    def __init__(self, failures: Sequence[MetricError], scores: Sequence[ScoreRow]) -> None:
        self.failures, self.scores = tuple(failures), list(scores)
        count = f"{len(failures)} metric{'s' if len(failures) > 1 else ''} could not be computed"
        super().__init__("\n".join([f"{count}:", *(f"  {failure}" for failure in failures)]))


def reason_of(error: BaseException) -> str:
    """The message of an error on one line; its type too unless it was raised to speak to a user."""
    text = " ".join(str(error).split())
    if isinstance(error, UserError) or (type(error) is ValueError and text):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
