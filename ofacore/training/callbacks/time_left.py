"""How long a run still takes: steps, and what stands between them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from ofacore.training.callbacks.base import Callback

if TYPE_CHECKING:
    from ofacore.training.callbacks.checkpointing import Checkpointing
    from ofacore.training.callbacks.validation import Validation
    from ofacore.training.loop import Trainer
    from ofacore.training.step.pass_report import StepReport

_WINDOW = 200
"""Steps that the time of a step is the mean of."""
_FORWARD = 1 / 3
"""Time of a pass without gradients, of that of a training step: the guess before anything was validated."""


class TimeLeft(Callback):
    """Seconds until the end, from the mean of the latest steps, and of validations and checkpoints so far.

    To be put before whoever asks. The first step of a process is not counted: it loads, compiles and warms up.

    Args:
        validation: Counted with its own time; None: nothing is validated.
        checkpointing: Likewise.
        clock: Seconds, from anywhere.
    """

    name = "time_left"

    def __init__(
        self,
        validation: Validation | None = None,
        checkpointing: Checkpointing | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.validation, self.checkpointing, self._clock = validation, checkpointing, clock
        self._steps: deque[float] = deque(maxlen=_WINDOW)
        self._first = self._begin = -1
        self._last = self._spent = 0.0
        self._samples = 1

    def on_start(self, trainer: Trainer) -> None:
        self._begin, self._last = trainer.step, self._clock()

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        now, spent = self._clock(), self._between()
        if self._first < 0:
            self._first = report.step
            self._steps.append(report.seconds)
        else:
            if report.step == self._first + 1:
                self._steps.clear()
            self._steps.append(max(0.0, now - self._last - (spent - self._spent)))
        self._last, self._spent, self._samples = now, spent, max(1, report.samples)

    def seconds(self, trainer: Trainer) -> float:
        """Until the run ends, with everything that is still to be validated and saved."""
        left, total = trainer.config.steps - trainer.step, trainer.config.steps
        step = sum(self._steps) / max(1, len(self._steps))
        return left * step + self._validations(trainer.step, total, step) + self._saves(trainer)

    def _between(self) -> float:
        """Seconds that validations and checkpoints took so far."""
        return sum(each.spent for each in (self.validation, self.checkpointing) if each)

    def _validations(self, done: int, total: int, step: float) -> float:
        found = self.validation
        if found is None:
            return 0.0
        number = _due(done, total, found.config.every)
        if found.runs:
            return number * found.spent / found.runs
        return number * step * _FORWARD * found.config.samples / self._samples

    def _saves(self, trainer: Trainer) -> float:
        """As many as configured, or as there were in as many steps, where each best one is saved too."""
        found = self.checkpointing
        if found is None or not found.saves:
            return 0.0
        done, total = trainer.step, trainer.config.steps
        number: float = _due(done, total, found.config.every)
        number = max(number, found.saves * (total - done) / max(1, done - self._begin))
        return number * found.spent / found.saves


def _due(done: int, total: int, every: int) -> int:
    """How often something is due that is every so many steps and at the end; 0: at the end alone."""
    if done >= total:
        return 0
    if not every:
        return 1
    return total // every - done // every + (total % every != 0)
