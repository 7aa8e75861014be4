"""What a run took: counted with its steps, so that a run that was killed and goes on tells the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ofacore.training.callbacks.base import Callback
from ofacore.training.stop import SIGNALS

if TYPE_CHECKING:
    from ofacore.training.loop import Trainer
    from ofacore.training.step.pass_report import StepReport


class Stopwatch(Callback):
    """Seconds and samples of all steps that count, and the signal that ended the run, if one did.

    Attributes:
        seconds: Of steps, without validation and saving.
        samples: Taken so far.
    """

    name = "stopwatch"

    def __init__(self) -> None:
        self.seconds, self.samples = 0.0, 0
        self._trainer: Trainer | None = None

    def on_start(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        self.seconds += report.seconds
        self.samples += report.samples

    def state(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "samples": self.samples}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.seconds, self.samples = float(state["seconds"]), int(state["samples"])

    @property
    def steps(self) -> int:
        """Steps done."""
        return self._trainer.step if self._trainer else 0

    @property
    def signal(self) -> int:
        """Number of the signal that ended the run, or 0."""
        reason = self._trainer.stop.reason if self._trainer else ""
        return next((int(number) for number in SIGNALS if number.name == reason), 0)
