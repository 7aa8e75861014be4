"""Saving: at intervals, at the best validation, at the end and when asked to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofacore.artifacts import Artifact
from ofacore.checkpoint import prune, save, step_folder, write_pointer
from ofacore.config.schema import CheckpointConfig
from ofacore.train.callbacks.base import Callback

if TYPE_CHECKING:
    from ofacore.train.callbacks.validation import Validation
    from ofacore.train.loop import Trainer
    from ofacore.train.report import StepReport

logger = logging.getLogger("ofacore.train")


class Checkpointing(Callback):
    """Writes checkpoints. To be put behind `Validation`, whose verdict it follows, and last of all.

    Args:
        config: When, and how many to keep.
        describe: Gives what the assembler stores with each: configuration, plan, vocabulary, plugin lock.
        artifacts: Stored with each.
        validation: Decides what is best; None: there is no ``best``.
        resume_command: Said when the run is stopped by a signal.

    Attributes:
        saved: Step of the last checkpoint, -1 before the first of this process.
        folder: Where the last one is.
    """

    name = "checkpointing"

    def __init__(
        self, config: CheckpointConfig, describe: Callable[[], Mapping[str, Any]] = dict,
        artifacts: Mapping[str, Artifact] | None = None, validation: Validation | None = None, resume_command: str = "",
    ) -> None:  # fmt: skip
        self.config, self.describe, self.artifacts = config, describe, dict(artifacts or {})
        self.validation, self.resume_command = validation, resume_command
        self.saved, self.best_step, self.folder = -1, -1, Path()

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        due = bool(self.config.every) and report.step % self.config.every == 0
        if due or self._is_new_best(report.step):
            self.save(trainer)

    def on_end(self, trainer: Trainer) -> None:
        if self.saved != trainer.step or self._is_new_best(trainer.step):
            self.save(trainer)
        if trainer.stop:
            advice = f"; go on with: {self.resume_command}" if self.resume_command else ""
            logger.warning("stopped after step %d (%s)%s", trainer.step, trainer.stop.reason, advice)

    def save(self, trainer: Trainer) -> Path:
        """Write a checkpoint of this moment, point ``latest`` (and ``best``) at it, delete old ones."""
        is_best = self._is_new_best(trainer.step)
        self.best_step = trainer.step if is_best else self.best_step
        snapshot = trainer.snapshot()
        snapshot = replace(snapshot, state={**self.describe(), **snapshot.state}, artifacts=self.artifacts)
        folder = save(step_folder(trainer.folder, trainer.step), snapshot)
        self.saved, self.folder = trainer.step, folder
        write_pointer(trainer.folder, "latest", folder, step=trainer.step)
        if is_best and self.validation:
            write_pointer(trainer.folder, "best", folder, step=trainer.step, score=self.validation.best)
        prune(trainer.folder, self.config.keep_last)
        return folder

    def _is_new_best(self, step: int) -> bool:
        found = self.validation
        return bool(found and found.improved and found.validated == step and self.best_step != step)

    def state(self) -> dict[str, Any]:
        return {"best_step": self.best_step}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.best_step = state.get("best_step", -1)
