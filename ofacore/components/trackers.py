"""Where metrics go: a file of JSON lines, TensorBoard, Weights & Biases.

Option ``resume_step`` of each: steps that the run goes on from; records beyond it come from a run that was cut off and
are dropped. Nothing is written before the first record.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from ofacore.ground.errors import UserError
from ofacore.ground.json_text import json_text
from ofacore.ground.step_lines import keep_lines
from ofacore.protocols import Record


class TrackerError(UserError):
    """A tracker cannot be used."""


class Jsonl:
    """``metrics.jsonl`` in the run folder: one object a line, ``step`` and the values by name."""

    def __init__(self, folder: Path, options: Mapping[str, Any] | None = None) -> None:
        self.path = Path(folder) / "metrics.jsonl"
        begun = int((options or {}).get("resume_step", 0))
        keep_lines(self.path, lambda step: step <= begun)
        self._file: TextIO | None = None

    def log(self, record: Record) -> None:
        """Append one line, and hand it to the system at once."""
        line = json_text({"step": record.step, **record.values}) + "\n"
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("a", encoding="utf-8")
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # what could not be written was told when it was logged
                file.close()


class TensorBoard:
    """Event files below ``tensorboard`` in the run folder."""

    def __init__(self, folder: Path, options: Mapping[str, Any] | None = None) -> None:
        step = int((options or {}).get("resume_step", 0))
        self._folder, self._purge = Path(folder) / "tensorboard", step + 1 if step else None
        self._writer: Any = None

    def log(self, record: Record) -> None:
        """Write every value as a scalar."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=self._purge)  # type: ignore[no-untyped-call]
        try:
            for name, value in record.values.items():
                self._writer.add_scalar(name, value, record.step)
        except OSError as error:
            raise _unwritable(self._folder, error) from error

    def close(self) -> None:
        """Flush and close."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with suppress(OSError):
                writer.close()


class WandB:
    """A run of Weights & Biases; its id is kept in the run folder, so that a resumed run goes on in the same one.

    Options:
        project: Default ``ofacore``.
        mode: ``online``, ``offline`` or ``disabled``; default what the environment says.
    """

    def __init__(self, folder: Path, options: Mapping[str, Any] | None = None) -> None:
        given = dict(options or {})
        try:
            wandb = importlib.import_module("wandb")
        except ImportError as error:
            raise TrackerError(
                "train.trackers: 'wandb' is not installed; pip install wandb"
            ) from error
        kept = Path(folder) / "wandb_id"
        known = kept.read_text(encoding="utf-8").strip() if kept.exists() else None
        self._run = wandb.init(
            project=given.get("project", "ofacore"),
            mode=given.get("mode"),
            id=known,
            resume="allow",
            dir=str(folder),
        )
        kept.write_text(f"{self._run.id}\n", encoding="utf-8")

    def log(self, record: Record) -> None:
        """Send one record."""
        self._run.log(dict(record.values), step=record.step)

    def close(self) -> None:
        """End the run."""
        self._run.finish()


def _unwritable(path: Path, error: OSError) -> TrackerError:
    return TrackerError(
        f"{path} cannot be written ({error.strerror or error}); make room there, then go on by resuming"
    )
