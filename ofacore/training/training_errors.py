"""What stops a training run, in words a user can act on."""

from __future__ import annotations

from collections.abc import Sequence

from ofacore.ground.errors import UserError
from ofacore.protocols import SampleInfo


class TrainingError(UserError):
    """Training cannot go on."""


class NonFiniteError(TrainingError):
    """A loss or a gradient is not a finite number.

    Attributes:
        step: Step, counted from 0.
        samples: Samples to blame.
    """

    def __init__(self, step: int, samples: Sequence[SampleInfo], what: str, way_out: str) -> None:
        self.step, self.samples = step, tuple(samples)
        super().__init__(
            f"step {step}: {what} is not a finite number for {named(samples)}; {way_out}"
        )


class OutOfMemoryError(TrainingError):
    """A micro-batch does not fit into memory.

    Attributes:
        step: Step, counted from 0.
        samples: Samples of the micro-batch.
    """

    def __init__(self, step: int, samples: Sequence[SampleInfo], way_out: str) -> None:
        self.step, self.samples = step, tuple(samples)
        super().__init__(
            f"step {step}: out of memory on a micro-batch of {len(samples)} ({named(samples)}); {way_out}"
        )


class FaultLimitError(TrainingError):
    """More faults of one kind than the configuration allows.

    Args:
        kind: What went wrong, in words.
        count: How often.
        limit: How often it may.
        key: Where the limit is set.
        last: The last one.
        component: Component and plugin that made it, if known; else the data are to be looked at.
    """

    def __init__(
        self, kind: str, count: int, limit: int, key: str, last: str, component: str = ""
    ) -> None:
        remedy = "Fix the data"
        if component:
            remedy = f"Mend {component}, lower train.lr if the run diverged,"
        super().__init__(
            f"{count} {kind} exceed {key}={limit}; the last one: {last}. {remedy} or raise {key}"
        )


class RuleError(TrainingError):
    """A rule for parameters matches none."""


class AggregatorError(UserError):
    """What an aggregator gives cannot be the gradient of the model."""


class TeacherError(UserError):
    """A teacher cannot teach what it shall."""

    def __init__(self, model: str, problem: str) -> None:
        super().__init__(f"train.teachers: {model} {problem}")


class RolloutMissingError(TrainingError):
    """A criterion needs sequences sampled from the model before the step, and nothing provides them."""

    def __init__(self, criterion: str) -> None:
        super().__init__(
            f"criterion '{criterion}' needs a rollout (sequences sampled from the model before each step), and this "
            f"trainer has none: pass rollout=... or choose another criterion"
        )


def named(samples: Sequence[SampleInfo], shown: int = 4) -> str:
    """``task 'caption' row train.csv:17``, and how many more."""
    first = ", ".join(f"task '{s.task}' row {s.row_id}" for s in samples[:shown])
    return first + (f" and {len(samples) - shown} more" if len(samples) > shown else "")
