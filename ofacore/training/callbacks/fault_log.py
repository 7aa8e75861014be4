"""Every fault in words, with its task and row."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from ofacore.ground.json_text import json_text
from ofacore.ground.step_lines import keep_lines
from ofacore.training.callbacks.base import Callback

if TYPE_CHECKING:
    from ofacore.training.loop import Trainer
    from ofacore.training.step.pass_report import StepReport

logger = logging.getLogger("ofacore.training")
FILE = "faults.jsonl"


class FaultLog(Callback):
    """Logs faults, and appends each to ``faults.jsonl`` in the run folder; says at the end how many there were.

    What stands there of steps that are done again, since a run was cut off behind its last checkpoint, is dropped.
    """

    name = "fault_log"

    def on_start(self, trainer: Trainer) -> None:
        keep_lines(
            trainer.folder / FILE, lambda step: step < trainer.step
        )  # faults count steps from 0

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        if not report.faults:
            return
        trainer.folder.mkdir(parents=True, exist_ok=True)
        with (trainer.folder / FILE).open("a", encoding="utf-8") as file:
            for fault in report.faults:
                logger.warning("%s: %s", fault.kind, fault)
                file.write(json_text(asdict(fault)) + "\n")

    def on_end(self, trainer: Trainer) -> None:
        for kind, count in sorted(trainer.faults.by_task.items()):
            logger.warning("%d times %s in this run; see %s", count, kind, trainer.folder / FILE)
