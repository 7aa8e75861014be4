"""Hands the figures of the run to its trackers."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ofacore.ground.errors import UserError
from ofacore.plugin.blame import blame
from ofacore.protocols import Record, Tracker
from ofacore.training.callbacks.base import Callback
from ofacore.training.callbacks.run_view import epochs

if TYPE_CHECKING:
    from ofacore.training.callbacks.speed import Speed
    from ofacore.training.callbacks.time_left import TimeLeft
    from ofacore.training.callbacks.validation import Validation
    from ofacore.training.loop import Trainer
    from ofacore.training.step.pass_report import StepReport


logger = logging.getLogger("ofacore.training")


class Tracking(Callback):
    """Logs every ``log_every`` steps, the first and the last, and every validation.

    To be put behind `Speed`, `TimeLeft` and `Validation`. Losses are means over the steps since the last record. Beside
    what was measured a record tells how far the run is: ``epoch/TASK``, ``run/steps`` in all, ``run/seconds_left``.
    A validation tells ``best/TASK/...`` so far, and its step.

    A tracker that raises is reported and called no more: it must not cost anybody a run. A `UserError`, which tells a
    way out, ends the run, so that it can be resumed without a gap; under ``strict`` any error does.
    """

    name = "tracking"

    def __init__(
        self,
        trackers: Sequence[Tracker],
        log_every: int,
        speed: Speed | None = None,
        validation: Validation | None = None,
        owners: Sequence[str] = (),
        time_left: TimeLeft | None = None,
        rows: Mapping[str, int] | None = None,
        strict: bool = False,
    ) -> None:
        self.time_left, self.rows = time_left, dict(rows or {})
        named = owners or [f"tracker {type(tracker).__name__}" for tracker in trackers]
        self._trackers = tuple(zip(named, trackers, strict=True))
        self._listening = list(self._trackers)
        self.log_every, self.speed, self.validation = log_every, speed, validation
        self.strict = strict
        self._sums: dict[str, tuple[float, int]] = {}
        self._validated = -1

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        for name, value in {**report.values, "train/gradient_norm": report.norm}.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)
        if report.step % self.log_every == 0 or report.step in (1, trainer.config.steps):
            self._log_step(trainer, report)
        self._log_validation()

    def on_end(self, trainer: Trainer) -> None:
        self._log_validation()

    def close(self) -> None:
        for owner, tracker in self._trackers:
            try:
                tracker.close()
            except Exception as error:  # the run is over: what it made must not be lost with it
                logger.warning(
                    "%s: close raised %s: %s; the run goes on", owner, type(error).__name__, error
                )

    def _log_step(self, trainer: Trainer, report: StepReport) -> None:
        values = {name: total / count for name, (total, count) in self._sums.items()}
        values["train/lr_factor"] = report.lr
        values |= {
            f"train/faults/{kind}": float(count) for kind, count in trainer.faults.totals.items()
        }
        values |= self.speed.read() if self.speed else {}
        values |= {f"epoch/{name}": n for name, n in epochs(trainer.cursor, self.rows).items()}
        values["run/steps"] = float(trainer.config.steps)
        if self.time_left:
            values["run/seconds_left"] = self.time_left.seconds(trainer)
        self._sums.clear()
        self._log(report.step, values)

    def _log_validation(self) -> None:
        found = self.validation
        if found and found.values and found.validated != self._validated:
            self._validated = found.validated
            bests: dict[str, float] = {}
            for name, score in found.scores().items():
                if math.isfinite(score.best):
                    bests |= {f"best/{name}": score.best, f"best_step/{name}": float(score.step)}
            self._log(found.validated, {**found.values, **bests})

    def _log(self, step: int, values: dict[str, float]) -> None:
        record = Record(
            step, {name: value for name, value in values.items() if math.isfinite(value)}
        )
        for owner, tracker in tuple(self._listening):
            try:
                tracker.log(record)
            except Exception as error:
                if self.strict or isinstance(error, UserError):
                    blame(error, owner, f"log, step {step}")
                    raise
                self._listening.remove((owner, tracker))
                logger.warning(
                    "%s: log, step %d, raised %s: %s; it is called no more, the run goes on",
                    owner,
                    step,
                    type(error).__name__,
                    error,
                )
