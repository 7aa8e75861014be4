"""Saving: at intervals, at the best validation, at the end and when asked to stop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist

from ofacore.checkpoint import Snapshot, prune, save, save_sharded, step_folder, write_pointer
from ofacore.checkpoint.artifact_files import FOLDER, keep
from ofacore.checkpoint.sharded import KINDS, on_first
from ofacore.config.train_section import CheckpointConfig
from ofacore.ground.artifacts import Artifact
from ofacore.parallel.held_parts import on_cpu
from ofacore.parallel.process_groups import is_first, layout
from ofacore.training.callbacks.base import Callback
from ofacore.training.state.sharded_state import sharded_snapshot

if TYPE_CHECKING:
    from ofacore.training.callbacks.validation import Validation
    from ofacore.training.loop import Trainer
    from ofacore.training.step.pass_report import StepReport

logger = logging.getLogger("ofacore.training")


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
        spent: Seconds that training waited for checkpoints of this process.
        saves: How many there were.
    """

    name = "checkpointing"

    def __init__(
        self,
        config: CheckpointConfig,
        describe: Callable[[], Mapping[str, Any]] = dict,
        artifacts: Mapping[str, Artifact] | None = None,
        validation: Validation | None = None,
        resume_command: str = "",
    ) -> None:
        self.config, self.describe, self.artifacts = config, describe, dict(artifacts or {})
        self.validation, self.resume_command = validation, resume_command
        self.saved, self.best_step, self.folder = -1, -1, Path()
        self.spent, self.saves = 0.0, 0
        self._writer = ThreadPoolExecutor(1, "ofa-checkpoint")
        self._writing: Future[None] | None = None
        self._group: dist.ProcessGroup | None = None

    def on_start(self, trainer: Trainer) -> None:
        """Files that artifacts refer to are kept at once: where they come from may not last as long as the run."""
        if is_first():
            keep(self._store(trainer.folder), self.artifacts)

    @staticmethod
    def _store(run: Path) -> Path:
        return run / FOLDER

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        due = bool(self.config.every) and report.step % self.config.every == 0
        if due or self._is_new_best(report.step):
            self.save(trainer)

    def on_end(self, trainer: Trainer) -> None:
        if self.saved != trainer.step or self._is_new_best(trainer.step):
            self.save(trainer)
        self.wait()
        if trainer.stop:
            advice = f"; go on with: {self.resume_command}" if self.resume_command else ""
            logger.warning(
                "stopped after step %d (%s)%s", trainer.step, trainer.stop.reason, advice
            )

    def save(self, trainer: Trainer) -> Path:
        """Write a checkpoint of this moment, point ``latest`` (and ``best``) at it, delete old ones.

        Every process must call this together.
        """
        began = time.perf_counter()
        folder = self._save(trainer)
        self.spent, self.saves = self.spent + time.perf_counter() - began, self.saves + 1
        return folder

    def _save(self, trainer: Trainer) -> Path:
        is_best = self._is_new_best(trainer.step)
        self.best_step = trainer.step if is_best else self.best_step
        folder = step_folder(trainer.folder, trainer.step)
        self.saved, self.folder = trainer.step, folder
        best = (
            {"step": trainer.step, "score": self.validation.shown, "by": self.validation.by}
            if is_best and self.validation
            else None
        )
        settle = partial(self._settle, trainer.folder, folder, best)
        if self._shards():
            store = self._store(trainer.folder)
            self._save_shards(folder, self._complete(sharded_snapshot(trainer)), settle, store)
            return folder
        snapshot = self._complete(trainer.snapshot())
        if is_first():
            save(folder, snapshot, self._store(trainer.folder))
            settle()
        return folder

    def _shards(self) -> bool:
        return self.config.form == "sharded" or (self.config.form == "auto" and not layout().single)

    def _complete(self, snapshot: Snapshot) -> Snapshot:
        return replace(
            snapshot, state={**self.describe(), **snapshot.state}, artifacts=self.artifacts
        )

    def _save_shards(
        self, folder: Path, snapshot: Snapshot, settle: Callable[[], None], store: Path
    ) -> None:
        """Write now, or from a copy while training goes on; a save is done before the next begins."""
        self.wait()
        group = self._talk()

        def write(snapshot: Snapshot = snapshot) -> None:
            save_sharded(folder, snapshot, group, store)
            on_first(settle, group)

        if not self.config.background:
            write()
            return
        kinds = {kind: on_cpu(getattr(snapshot, kind)) for kind in KINDS}
        self._writing = self._writer.submit(write, replace(snapshot, **kinds))

    def wait(self) -> None:
        """Until what is being written in the background stands; raises what went wrong there."""
        writing, self._writing = self._writing, None
        if writing:
            writing.result()

    def _talk(self) -> dist.ProcessGroup | None:
        """Processes talk about saving in a group of their own, so that training can go on meanwhile."""
        if self._group is None and not layout().single:
            self._group = dist.new_group(backend="gloo")
        return self._group

    def _settle(self, run: Path, folder: Path, best: Mapping[str, Any] | None) -> None:
        write_pointer(run, "latest", folder, step=int(folder.name.removeprefix("step-")))
        if best:
            write_pointer(run, "best", folder, **best)
        prune(run, self.config.keep_last)

    def _is_new_best(self, step: int) -> bool:
        found = self.validation
        return bool(found and found.improved and found.validated == step and self.best_step != step)

    def state(self) -> dict[str, Any]:
        return {"best_step": self.best_step}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.best_step = state.get("best_step", -1)
