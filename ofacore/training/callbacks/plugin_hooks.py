"""Tells the hooks of plugins what happens in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ofacore.plugin.hooks import RunHooks, TrainingRun
from ofacore.training.callbacks.base import Callback

if TYPE_CHECKING:
    from ofacore.training.callbacks.checkpointing import Checkpointing
    from ofacore.training.callbacks.validation import Validation
    from ofacore.training.loop import Trainer
    from ofacore.training.step.pass_report import StepReport


class PluginHooks(Callback):
    """Calls hooks. To be put last of all, so that what it tells has happened.

    Args:
        hooks: The hooks.
        run: What they get at the start.
        validation: Its results are told.
        checkpointing: Its checkpoints are told.
    """

    name = "plugin_hooks"

    def __init__(
        self,
        hooks: RunHooks,
        run: TrainingRun,
        validation: Validation,
        checkpointing: Checkpointing,
    ) -> None:
        self.hooks, self.run, self.validation, self.checkpointing = (
            hooks,
            run,
            validation,
            checkpointing,
        )
        self._validated = self._saved = -1
        self._started = False

    def on_start(self, trainer: Trainer) -> None:
        self._validated = self.validation.validated
        self._started = True
        self.hooks.call("ofa_run_start", run=self.run)

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        metrics = {**report.values, "train/gradient_norm": report.norm}
        self.hooks.call("ofa_step_end", step=report.step, metrics=metrics)
        self._tell_news()

    def on_end(self, trainer: Trainer) -> None:
        self._tell_news()

    def close(self) -> None:
        if self._started:
            self._started = False
            self.hooks.call("ofa_run_end")

    def _tell_news(self) -> None:
        found, written = self.validation, self.checkpointing
        if found.validated != self._validated:
            self._validated = found.validated
            self.hooks.call("ofa_validation_end", step=found.validated, metrics=found.values)
        if written.saved != self._saved:
            self._saved = written.saved
            self.hooks.call("ofa_checkpoint_saved", path=written.folder)
