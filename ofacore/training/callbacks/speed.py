"""How fast it goes, and whether the threads really run side by side."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import torch

from ofacore.training.callbacks.base import Callback

if TYPE_CHECKING:
    from ofacore.training.loop import Trainer
    from ofacore.training.step.pass_report import StepReport

logger = logging.getLogger("ofacore.training")

SETTLED = 10
"""Steps before the ratio of processor time to wall time says anything."""
LOWEST_RATIO = 1.2


class Speed(Callback):
    """Averages over the steps since it was last read.

    Attributes:
        samples_per_second: Since `read` was last called.
        positions_per_second: The same, in positions of source and target.
        cores_used: Processor time / wall time.
    """

    name = "speed"

    def __init__(self) -> None:
        self.samples = self.positions = self.steps = 0
        self.seconds = self.cpu_seconds = 0.0
        self.warned = False

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        self.steps += 1
        self.samples += report.samples
        self.positions += report.positions
        self.seconds += report.seconds
        self.cpu_seconds += report.cpu_seconds
        if self.steps >= SETTLED:
            self._warn_of_idle_threads()

    def read(self) -> dict[str, float]:
        """Figures named for trackers; starts a new average."""
        seconds = max(self.seconds, 1e-9)
        found = {
            "train/samples_per_second": self.samples / seconds,
            "train/positions_per_second": self.positions / seconds,
            "train/cores_used": self.cpu_seconds / seconds,
        }
        self.samples = self.positions = self.steps = 0
        self.seconds = self.cpu_seconds = 0.0
        return found

    def _warn_of_idle_threads(self) -> None:
        threads, ratio = torch.get_num_threads(), self.cpu_seconds / max(self.seconds, 1e-9)
        sleeping = any(name in os.environ for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"))
        if threads >= 2 and ratio < LOWEST_RATIO and not sleeping and not self.warned:
            self.warned = True
            logger.warning(
                "%d threads use only %.1f cores: another process may hold them, or the threads spin on one core; "
                "try train.threads=1, or GOMP_SPINCOUNT=10000 in the environment",
                threads,
                ratio,
            )
