"""Signs of life of one of several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ofacore.launch.watchdog import Watchdog
from ofacore.training.callbacks.base import Callback

if TYPE_CHECKING:
    from ofacore.training.loop import Trainer
    from ofacore.training.step.pass_report import StepReport


class Heartbeat(Callback):
    """Tells a watchdog of every step, and that training begins and ends."""

    def __init__(self, watchdog: Watchdog) -> None:
        self.watchdog = watchdog

    def on_start(self, trainer: Trainer) -> None:
        self.watchdog.beat(trainer.step)

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        self.watchdog.beat(report.step)

    def on_end(self, trainer: Trainer) -> None:
        self.watchdog.beat(trainer.step)

    def alive(self) -> None:
        """Something other than a step was done."""
        self.watchdog.beat(self.watchdog.step)
