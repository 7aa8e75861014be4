"""What a person sees while training: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.live import Live

from ofacore.training.callbacks.base import Callback
from ofacore.training.callbacks.run_view import RunView, epochs
from ofacore.training.callbacks.time_left import TimeLeft

if TYPE_CHECKING:
    from ofacore.training.callbacks.validation import Validation
    from ofacore.training.loop import Trainer
    from ofacore.training.step.pass_report import StepReport

SMOOTHING = 0.9
"""Weight of the past in shown averages."""
REFRESH_SECONDS = 0.25


class Progress(Callback):
    """Loss of every term, scores of validation with the best so far, epochs, samples/s and the time that is left.

    To be put behind `Validation`, if there is one, so that it shows its scores at once.

    Args:
        every: Steps between two plain lines.
        stream: Where to; default standard error.
        opening: First line.
        time_left: Tells the time that is left; default: from steps alone.
        validation: Gives the scores.
        rows: Task -> rows that an epoch of it has.
    """

    name = "progress"

    def __init__(
        self,
        every: int = 10,
        stream: TextIO | None = None,
        opening: str = "",
        time_left: TimeLeft | None = None,
        validation: Validation | None = None,
        rows: Mapping[str, int] | None = None,
    ) -> None:
        self.every, self.opening = every, opening
        self.console = Console(file=stream or sys.stderr, soft_wrap=True)
        self.time_left, self.validation, self.rows = time_left, validation, dict(rows or {})
        self._own_time = time_left is None
        self.losses: dict[str, float] = {}
        self.seconds = self.samples = 0.0
        self._live: Live | None = None
        self._shown = 0.0
        self._validated = -1
        self._report: StepReport | None = None

    def on_start(self, trainer: Trainer) -> None:
        if self._own_time:
            self.time_left = TimeLeft()
            self.time_left.on_start(trainer)
        if self.validation is not None:
            self._validated = self.validation.validated
        if self.opening:
            self.console.print(self.opening, highlight=False, markup=False)
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        if self._own_time and self.time_left is not None:
            self.time_left.on_step(trainer, report)
        self._average(report)
        self._report = report
        last = report.step == trainer.config.steps
        if self._live is None:
            if report.step % self.every == 0 or report.step == 1 or last:
                self._print(self._view(trainer, report).line())
        elif time.monotonic() - self._shown > REFRESH_SECONDS or last:
            self._draw(trainer, report)
        self._show_validation(trainer, report)

    def on_end(self, trainer: Trainer) -> None:
        if self._report is not None:
            self._show_validation(trainer, self._report)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _show_validation(self, trainer: Trainer, report: StepReport) -> None:
        """What a validation gave, once."""
        found = self.validation
        if found is None or not found.values or found.validated == self._validated:
            return
        self._validated = found.validated
        if self._live is None:
            self._print(self._view(trainer, report).validation_line())
        else:
            self._draw(trainer, report)

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False)

    def _draw(self, trainer: Trainer, report: StepReport) -> None:
        assert self._live is not None
        self._shown = time.monotonic()
        self._live.update(self._view(trainer, report).table(), refresh=True)

    def _average(self, report: StepReport) -> None:
        for name, value in report.values.items():
            if name.count("/") == 2:
                past = self.losses.get(name, value)
                self.losses[name] = SMOOTHING * past + (1 - SMOOTHING) * value
        weight = SMOOTHING if self.seconds else 0.0
        self.seconds = weight * self.seconds + (1 - weight) * report.seconds
        self.samples = weight * self.samples + (1 - weight) * report.samples

    def _view(self, trainer: Trainer, report: StepReport) -> RunView:
        found = self.validation
        left = self.time_left.seconds(trainer) if self.time_left else 0.0
        losses = {name.removeprefix("train/"): value for name, value in self.losses.items()}
        scores = found.scores() if found else {}
        validated = found.validated if found and found.values else -1
        return RunView(
            step=report.step,
            steps=trainer.config.steps,
            samples_per_second=self.samples / max(self.seconds, 1e-9),
            seconds_left=left,
            faults=sum(trainer.faults.totals.values()),
            epochs=epochs(trainer.cursor, self.rows),
            losses=losses,
            scores=scores,
            validated=validated,
        )
