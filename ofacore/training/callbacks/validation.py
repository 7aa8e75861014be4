"""Validation at intervals, the best score so far, and early stopping."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ofacore.config.train_section import CheckpointConfig, ValidationConfig
from ofacore.plugin import suggest
from ofacore.training.callbacks.base import Callback
from ofacore.training.callbacks.joined_metrics import JoinedMetrics
from ofacore.training.callbacks.run_view import Score
from ofacore.training.training_errors import TrainingError

if TYPE_CHECKING:
    from ofacore.training.loop import Trainer
    from ofacore.training.step.pass_report import StepReport

_LOSS = "mean validation loss"
logger = logging.getLogger("ofacore.training")
Validate = Callable[[int], Mapping[str, float]]
"""Steps done -> ``valid/task/metric`` -> value."""


class Validation(Callback):
    """Calls ``validate`` every so many steps and at the end; stops when nothing improves.

    Args:
        validate: Measures the model.
        config: How often, and when to stop.
        checkpoint: Which value decides.
        known: Name of a value -> whether higher is better, where that is known before the first validation.
        joined: Makes one number of the tasks' metrics, which decides where ``checkpoint.best`` is empty.
        higher: The same, of whatever has been measured; filled by ``validate``.

    Raises:
        TrainingError: ``train.checkpoint.best`` is none of the known names.

    Attributes:
        values: Result of the last validation.
        validated: Step of the last validation.
        best: Best score so far, None before the first.
        best_step: Step of that validation, -1 before the first.
        by: What decides, in words.
        shown: What the best one is said to have: where one metric decides its value, not the points it is worth.
        improved: The last validation was the best so far.
        bests: Name of a value -> its best so far, and the step of that.
        spent: Seconds that validations of this process took.
        runs: How many there were.
    """

    name = "validation"

    def __init__(
        self,
        validate: Validate,
        config: ValidationConfig,
        checkpoint: CheckpointConfig,
        known: Mapping[str, bool] | None = None,
        joined: JoinedMetrics | None = None,
        higher: Mapping[str, bool] | None = None,
    ) -> None:
        self.validate, self.config, self.checkpoint = validate, config, checkpoint
        self._names = (checkpoint.best, f"valid/{checkpoint.best}")
        if checkpoint.best and known is not None and not any(name in known for name in self._names):
            raise TrainingError(_unknown(checkpoint.best, known, config))
        self.higher = bool(checkpoint.higher_is_better)
        if checkpoint.best and checkpoint.higher_is_better is None:
            self.higher = any((known or {}).get(name, False) for name in self._names)
        self.joined = joined or JoinedMetrics()
        self.by = checkpoint.best or _LOSS
        self.values: dict[str, float] = {}
        self.best_step = -1
        self.validated, self.best, self.improved, self.waited = -1, None, False, 0
        self.bests: dict[str, tuple[float, int]] = {}
        self.spent, self.runs = 0.0, 0
        self._higher: Mapping[str, bool] = {} if higher is None else higher

    best: float | None
    shown: float | None = None

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        if self.config.every and report.step % self.config.every == 0:
            self._run(trainer, report.step)

    def on_end(self, trainer: Trainer) -> None:
        if self.validated != trainer.step and not trainer.stop:
            self._run(trainer, trainer.step)

    def _run(self, trainer: Trainer, step: int) -> None:
        began = time.perf_counter()
        with trainer.evaluating():
            self.values = dict(self.validate(step))
        self.spent, self.runs = self.spent + time.perf_counter() - began, self.runs + 1
        self.validated = step
        self._note_bests(step)
        found = self.score(self.values)
        self.improved = self._is_better(found)
        if self.improved:
            self.best, self.best_step = found, step
            self.shown = self.values.get(f"valid/{self.by}", found)
        self.waited = 0 if self.improved else self.waited + 1
        if self.config.patience and self.waited >= self.config.patience:
            trainer.stop.reason = (
                f"no improvement in {self.waited} validations (train.validation.patience)"
            )

    def _note_bests(self, step: int) -> None:
        for name, value in self.values.items():
            best, _ = self.bests.get(name, (math.nan, -1))
            better = value > best if self._higher.get(name, False) else value < best
            if math.isfinite(value) and (math.isnan(best) or better):
                self.bests[name] = value, step

    def scores(self) -> dict[str, Score]:
        """``task/slot/loss`` or ``task/metric`` -> value of the last validation, with the best so far."""
        found = {}
        for name, value in self.values.items():
            best, step = self.bests.get(name, (value, self.validated))
            found[name.removeprefix("valid/")] = Score(value, best, step)
        return found

    def score(self, values: Mapping[str, float]) -> float:
        """The value that ``train.checkpoint.best`` names, else the tasks' metrics joined, else the mean of all losses.

        nan where validation did not give that value this time, which is told: a run is not lost for it.
        """
        if not self.checkpoint.best:
            points = self.joined(values)
            if points is not None:
                self._judge_by(self.joined.told, higher=True)
                return points
            self._judge_by(_LOSS, higher=False)
            losses = [value for name, value in values.items() if name.endswith("/loss")]
            return sum(losses) / len(losses) if losses else math.nan
        found = next((values[name] for name in self._names if name in values), None)
        if found is None:
            given = ", ".join(sorted(values)) or "nothing"
            logger.warning(
                "train.checkpoint.best='%s' was not measured, but %s", self.checkpoint.best, given
            )
        return math.nan if found is None else found

    def _judge_by(self, by: str, higher: bool) -> None:
        """What was best by another measure counts no more."""
        if by != self.by:
            self.best, self.best_step, self.waited = None, -1, 0
        self.by, self.higher = by, higher or bool(self.checkpoint.higher_is_better)

    def _is_better(self, score: float) -> bool:
        if not math.isfinite(score):
            return False
        return self.best is None or (score > self.best if self.higher else score < self.best)

    def state(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_step": self.best_step,
            "by": self.by,
            "asked": self._asked(),
            "first": self.joined.first,
            "waited": self.waited,
            "validated": self.validated,
            "bests": {name: list(best) for name, best in self.bests.items()},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.joined.first = dict(state.get("first", {}))
        self.validated = state.get("validated", -1)
        if self._is_as_asked(state):
            self.best, self.best_step = state.get("best"), state.get("best_step", -1)
            self.by, self.waited = state.get("by", self.by), state.get("waited", 0)
        bests = state.get("bests", {}).items()
        self.bests = {name: (float(value), int(step)) for name, (value, step) in bests}

    def _asked(self) -> list[str | bool]:
        """What the configuration says of how the best one is chosen."""
        named = self.checkpoint.best
        return [named, self.higher] if named else []

    def _is_as_asked(self, state: Mapping[str, Any]) -> bool:
        """Whether a stored best one was chosen as it would be today; earlier versions tell its name alone."""
        if "asked" in state:
            return list(state["asked"]) == self._asked()
        named = self.checkpoint.best
        return not named or state.get("by", named) == named


def _unknown(wanted: str, known: Mapping[str, bool], config: ValidationConfig) -> str:
    """Why nothing can be judged by a name, and the way out."""
    if not known:
        way_out = "no task has validation rows; give tasks.NAME.data.valid, or leave train.checkpoint.best empty"
        return f"train.checkpoint.best='{wanted}': {way_out}"
    hint = suggest(wanted, [*known, *(name.removeprefix("valid/") for name in known)])
    generate = (
        ""
        if config.measures
        else "; metrics are measured only with train.validation.generate: true"
    )
    names = f"there are {', '.join(sorted(known))}"
    return f"train.checkpoint.best='{wanted}': validation gives no such value; {hint or names}{generate}"
