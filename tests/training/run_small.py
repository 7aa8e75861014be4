"""A whole run of the small model, that can kill itself: ``python -m tests.training.run_small FOLDER STEPS KILL_AT``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

from ofacore.checkpoint import find_latest, load
from ofacore.components.trackers import Jsonl
from ofacore.config.train_section import (
    CheckpointConfig,
    OptimizerConfig,
    TrainConfig,
    ValidationConfig,
)
from ofacore.training.callbacks.base import Callback
from ofacore.training.callbacks.checkpointing import Checkpointing
from ofacore.training.callbacks.tracking import Tracking
from ofacore.training.callbacks.validation import Validation
from ofacore.training.loop import Trainer
from tests.training.small import SmallModel, loader, make_samples, step_of


class Killer(Callback):
    """Ends the process without warning."""

    name = "killer"

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer, report):
        if report.step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def run(
    folder: Path, steps: int = 100, kill_at: int = -1, dtype: torch.dtype = torch.bfloat16
) -> Trainer:
    config = TrainConfig(
        steps=steps,
        seed=5,
        ema=0.9,
        optimizer=OptimizerConfig(name="muon"),
        log_every=5,
        checkpoint=CheckpointConfig(every=25),
        validation=ValidationConfig(every=20),
    )
    latest = find_latest(folder)
    snapshot = load(latest) if latest else None
    start = int(snapshot.state["cursor"]["next"]) if snapshot else 0
    model = SmallModel(seed=3, dropout=0.2).to(dtype)

    def validate(step: int) -> dict[str, float]:
        hidden = model.hidden(step_of(make_samples(6, seed=9)).batches[0])
        return {"valid/a/loss": float(hidden.detach().float().square().mean())}

    validation = Validation(validate, config.validation, config.checkpoint)
    tracker = Jsonl(folder, {"resume_step": start})
    callbacks = [
        validation,
        Tracking([tracker], config.log_every, validation=validation),
        Checkpointing(config.checkpoint, validation=validation),
        Killer(kill_at),
    ]
    trainer = Trainer(model, loader(start), config, folder, callbacks)
    if snapshot:
        trainer.restore(snapshot)
    trainer.run()
    return trainer


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
