"""A mark in the run folder that a run has ended, and why: without it, one that no process holds has died."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ofacore.ground.json_text import json_text
from ofacore.training.callbacks.base import Callback

if TYPE_CHECKING:
    from ofacore.training.loop import Trainer

FILE = "ended.json"


class EndMark(Callback):
    """Writes ``ended.json``: the step, the reason where the run was stopped, and the seconds that it took in all.

    To be put last of all.
    """

    name = "end_mark"

    def on_start(self, trainer: Trainer) -> None:
        self._before = training_seconds(trainer.folder) or 0.0
        self._began = time.perf_counter()
        (trainer.folder / FILE).unlink(missing_ok=True)

    def on_end(self, trainer: Trainer) -> None:
        seconds = self._before + time.perf_counter() - self._began
        told = {
            "step": trainer.step,
            "reason": trainer.stop.reason,
            "seconds": round(seconds, 1),
        }
        (trainer.folder / FILE).write_text(json_text(told) + "\n", encoding="utf-8")


def read_end(folder: Path) -> dict[str, Any] | None:
    """What the mark of a run says; None where there is none, or not all of it yet."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"step", "reason"} <= found.keys() else None


def training_seconds(folder: Path) -> float | None:
    """How long the training took that a run folder's mark tells of; None where it does not."""
    found = (read_end(folder) or {}).get("seconds")
    return float(found) if isinstance(found, int | float) else None
