"""What a person sees while training: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from ofacore.training.callbacks.base import Callback

if TYPE_CHECKING:
    from ofacore.training.loop import Trainer
    from ofacore.training.step.pass_report import StepReport

SMOOTHING = 0.9
"""Weight of the past in shown averages."""
REFRESH_SECONDS = 0.25


class Progress(Callback):
    """Loss of every term, samples/s and the time that is left.

    Args:
        every: Steps between two plain lines.
        stream: Where to; default standard error.
        opening: First line.
    """

    name = "progress"

    def __init__(self, every: int = 10, stream: TextIO | None = None, opening: str = "") -> None:
        self.every, self.opening = every, opening
        self.console = Console(file=stream or sys.stderr, soft_wrap=True)
        self.losses: dict[str, float] = {}
        self.seconds = self.samples = 0.0
        self._live: Live | None = None
        self._shown = 0.0

    def on_start(self, trainer: Trainer) -> None:
        if self.opening:
            self.console.print(self.opening, highlight=False, markup=False)
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        self._average(report)
        if self._live is None:
            if report.step % self.every == 0 or report.step in (1, trainer.config.steps):
                self.console.print(self._line(trainer, report), highlight=False, markup=False)
        elif (
            time.monotonic() - self._shown > REFRESH_SECONDS or report.step == trainer.config.steps
        ):
            self._shown = time.monotonic()
            self._live.update(self._table(trainer, report), refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _average(self, report: StepReport) -> None:
        for name, value in report.values.items():
            if name.count("/") == 2:
                past = self.losses.get(name, value)
                self.losses[name] = SMOOTHING * past + (1 - SMOOTHING) * value
        first = self.seconds == 0
        self.seconds = (
            report.seconds if first else SMOOTHING * self.seconds + (1 - SMOOTHING) * report.seconds
        )
        self.samples = (
            report.samples if first else SMOOTHING * self.samples + (1 - SMOOTHING) * report.samples
        )

    def _headline(self, trainer: Trainer, report: StepReport) -> str:
        left = timedelta(seconds=round((trainer.config.steps - report.step) * self.seconds))
        rate = self.samples / max(self.seconds, 1e-9)
        faults = sum(trainer.faults.totals.values())
        return f"step {report.step}/{trainer.config.steps}  {rate:.0f} samples/s  left {left}" + (
            f"  faults {faults}" if faults else ""
        )

    def _line(self, trainer: Trainer, report: StepReport) -> str:
        losses = "  ".join(
            f"{name.removeprefix('train/')} {value:.3f}"
            for name, value in sorted(self.losses.items())
        )
        return f"{self._headline(trainer, report)}  {losses}"

    def _table(self, trainer: Trainer, report: StepReport) -> Table:
        table = Table(
            "task/slot", "loss", title=self._headline(trainer, report), title_justify="left"
        )
        for name, value in sorted(self.losses.items()):
            table.add_row(escape(name.removeprefix("train/")), f"{value:.3f}")
        return table
