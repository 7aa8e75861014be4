"""What a callback can do: small conveniences beside the loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ofacore.training.loop import Trainer
    from ofacore.training.step.pass_report import StepReport


class Callback:
    """Does nothing; subclasses override what they need. ``name`` keys its state in checkpoints."""

    name = ""

    def on_start(self, trainer: Trainer) -> None:
        """Before the first step of this process, after a checkpoint was restored."""

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        """After every step."""

    def on_end(self, trainer: Trainer) -> None:
        """After the last step, or when the run stops early; not after an error."""

    def close(self) -> None:
        """Last of all, after an error too: give back files and the terminal. May be called twice."""

    def state(self) -> dict[str, Any]:
        """JSON-ready; what must survive a resume."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned; an empty mapping where the checkpoint has none."""
