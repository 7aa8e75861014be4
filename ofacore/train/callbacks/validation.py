"""Validation at intervals, the best score so far, and early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ofacore.config.schema import CheckpointConfig, ValidationConfig
from ofacore.train.callbacks.base import Callback
from ofacore.train.errors import TrainingError

if TYPE_CHECKING:
    from ofacore.train.loop import Trainer
    from ofacore.train.report import StepReport

Validate = Callable[[int], Mapping[str, float]]
"""Steps done -> ``valid/task/metric`` -> value."""


class Validation(Callback):
    """Calls ``validate`` every so many steps and at the end; stops when nothing improves.

    Attributes:
        values: Result of the last validation.
        validated: Step of the last validation.
        best: Best score so far, None before the first.
        improved: The last validation was the best so far.
    """

    name = "validation"

    def __init__(self, validate: Validate, config: ValidationConfig, checkpoint: CheckpointConfig) -> None:
        self.validate, self.config, self.checkpoint = validate, config, checkpoint
        self.values: dict[str, float] = {}
        self.validated, self.best, self.improved, self.waited = -1, None, False, 0

    best: float | None

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        if self.config.every and report.step % self.config.every == 0:
            self._run(trainer, report.step)

    def on_end(self, trainer: Trainer) -> None:
        if self.validated != trainer.step and not trainer.stop:
            self._run(trainer, trainer.step)

    def _run(self, trainer: Trainer, step: int) -> None:
        with trainer.evaluating():
            self.values = dict(self.validate(step))
        self.validated = step
        found = self.score(self.values)
        self.improved = self._is_better(found)
        self.best = found if self.improved else self.best
        self.waited = 0 if self.improved else self.waited + 1
        if self.config.patience and self.waited >= self.config.patience:
            trainer.stop.reason = f"no improvement in {self.waited} validations (train.validation.patience)"

    def score(self, values: Mapping[str, float]) -> float:
        """The metric that ``train.checkpoint.best`` names, else the mean of all validation losses.

        Raises:
            TrainingError: There is no such metric; names those there are.
        """
        wanted = self.checkpoint.best
        if wanted:
            for name in (wanted, f"valid/{wanted}"):
                if name in values:
                    return values[name]
            known = ", ".join(sorted(values)) or "nothing"
            raise TrainingError(f"train.checkpoint.best='{wanted}': validation gives no such metric, but {known}")
        losses = [value for name, value in values.items() if name.endswith("/loss")]
        return sum(losses) / len(losses) if losses else math.nan

    def _is_better(self, score: float) -> bool:
        if math.isnan(score):
            return False
        higher = self.checkpoint.higher_is_better and bool(self.checkpoint.best)
        return self.best is None or (score > self.best if higher else score < self.best)

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited, "validated": self.validated}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.best = state.get("best")
        self.waited, self.validated = state.get("waited", 0), state.get("validated", -1)
