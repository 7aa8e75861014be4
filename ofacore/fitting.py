"""Training a generalist: loader, trainer and callbacks put together; resumed from a run folder where asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ofacore.checkpoint import CheckpointError, find_latest
from ofacore.checkpoint import load as load_snapshot
from ofacore.config.schema import TrainConfig
from ofacore.data.cursor import Cursor
from ofacore.data.errors import BadRow
from ofacore.data.loader import LoaderSettings, Step, StepLoader
from ofacore.data.loader import TaskData as TrainingData
from ofacore.evaluate.validator import Validator
from ofacore.folders import check_writable
from ofacore.parallel.process import tune_process
from ofacore.plugin.hooks import RunHooks, TrainingRun
from ofacore.protocols import Batch, Schedule, TaskShare
from ofacore.rollout import Rollout
from ofacore.saving import described
from ofacore.train.callbacks.base import Callback
from ofacore.train.callbacks.checkpointing import Checkpointing
from ofacore.train.callbacks.fault_log import FaultLog
from ofacore.train.callbacks.plugin_hooks import PluginHooks
from ofacore.train.callbacks.progress import Progress
from ofacore.train.callbacks.speed import Speed
from ofacore.train.callbacks.tracking import Tracking
from ofacore.train.callbacks.validation import Validation
from ofacore.train.interfaces import StepData
from ofacore.train.loop import Trainer
from ofacore.train.precision import weight_dtype

if TYPE_CHECKING:
    from ofacore.generalist import Generalist

logger = logging.getLogger("ofacore.train")


@dataclass(frozen=True)
class LoadedStep:
    """A loader's step as the trainer reads it."""

    step: int
    batches: Sequence[Batch]
    counts: Mapping[str, int]
    cursor: Mapping[str, Any]
    bad_rows: Sequence[BadRow]
    halves: Callable[[Batch], Sequence[Batch]]
    """Cuts a micro-batch; see `ofacore.train.interfaces.Divisible`."""
    origin: Step
    """With the rows that it was made of."""


@dataclass(frozen=True)
class Steps:
    """Steps from a loader, for the trainer."""

    loader: StepLoader

    def __iter__(self) -> Iterator[LoadedStep]:
        for step in self.loader:
            yield loaded(step)


def loaded(step: Step) -> LoadedStep:
    """The same step in the trainer's terms."""
    return LoadedStep(step.number, step.batches, step.counts, step.cursor.state(), step.bad, step.halves, step)


def rollout(generalist: Generalist) -> Callable[[StepData, nn.Module], StepData]:
    """The pass before each step, in the trainer's terms."""
    write = Rollout(generalist)

    def ahead(step: StepData, model: nn.Module) -> StepData:
        assert isinstance(step, LoadedStep)
        return loaded(write(step.origin, model))

    return ahead


def fit(
    generalist: Generalist,
    folder: Path,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
) -> Path:
    """Train to ``train.steps`` steps; returns the run folder.

    Raises:
        UserError: There is nothing to train on, the folder holds another run, or a fault limit was reached.
    """
    config = generalist.assembly.config.train
    place = check_folder(folder, resume)
    tune_process(config.threads)
    dtype = weight_dtype(config.precision, generalist.model.device)
    generalist.model.to(dtype)
    snapshot = load_snapshot(place) if place else None
    begun = (int(snapshot.state["step"]), Cursor.from_state(snapshot.state["cursor"])) if snapshot else (0, Cursor())
    if begun[0] >= config.steps:
        logger.warning("%s is at step %d already: nothing to train up to %d", folder, begun[0], config.steps)
    loader = StepLoader(
        training_data(generalist), schedule(generalist), loader_settings(config), begun[1], begun[0], config.steps
    )
    trainer = Trainer(generalist.model, Steps(loader), config, folder, rollout=rollout(generalist))
    *before, checkpointing, plugins = _callbacks(generalist, folder, begun[0], quiet)  # trackers write from here on
    trainer.callbacks = (*before, *callbacks, checkpointing, plugins)
    if snapshot and place:
        _restore(trainer, snapshot, place)
    trainer.run()
    generalist.model.eval()
    return folder


def _restore(trainer: Trainer, snapshot: Any, place: Path) -> None:
    try:
        trainer.restore(snapshot)
    except ValueError as error:
        raise CheckpointError(place, f"does not fit this run: {error}") from error
    logger.info("going on from %s", place)


def check_folder(folder: Path, resume: bool) -> Path | None:
    """The checkpoint to go on from, if any; called before any work.

    Raises:
        CheckpointError: The folder holds a run that is not to be resumed.
        UserError: The folder cannot be written to.
    """
    check_writable(folder)
    found = find_latest(folder)
    if found and not resume:
        remedy = "go on with --resume (resume=True), or choose another folder with --out"
        raise CheckpointError(folder, f"holds a run already, up to {found.name}; {remedy}")
    if resume and not found:
        logger.warning("%s has no checkpoint yet: starting from the beginning", folder)
    return found


def training_data(generalist: Generalist) -> dict[str, TrainingData]:
    """Rows and encoders of all tasks that have training rows."""
    encoders = generalist.assembly.encoders
    return {
        name: TrainingData(data.train, encoders[name])
        for name, data in generalist.data.items()
        if data.train is not None and generalist.assembly.plans[name].weight > 0
    }


def shares(generalist: Generalist) -> dict[str, TaskShare]:
    """What the schedule knows of the tasks."""
    return {
        name: TaskShare(len(data.source), generalist.assembly.plans[name].weight)
        for name, data in training_data(generalist).items()
    }


def schedule(generalist: Generalist) -> Schedule:
    """The configured schedule."""
    config, registry = generalist.assembly.config.train, generalist.assembly.registry
    options = {**registry.component("schedule", config.schedule.name).options, **config.schedule.options}
    build = registry.load("schedule", config.schedule.name)
    made: Schedule = build(shares(generalist), config.samples, config.seed, options)
    return made


def loader_settings(config: TrainConfig) -> LoaderSettings:
    """The loader's part of the training section."""
    return LoaderSettings(
        seed=config.seed, positions=config.micro_batch_positions, samples=config.micro_batch_samples,
        packing=config.packing, bad_rows=config.faults.bad_rows, workers=config.workers,
    )  # fmt: skip


def _callbacks(generalist: Generalist, folder: Path, step: int, quiet: bool) -> list[Callback]:
    assembly = generalist.assembly
    config = assembly.config.train
    validator = Validator(generalist)
    known = validator.known() if config.checkpoint.best else None
    validation = Validation(validator, config.validation, config.checkpoint, known)
    speed = Speed()
    trackers = [assembly.registry.load("tracker", name)(folder, {"resume_step": step}) for name in config.trackers]
    command = f"ofa train CONFIG --resume --out {folder}"
    written = Checkpointing(config.checkpoint, lambda: described(assembly), assembly.artifacts, validation, command)
    hooks = RunHooks(assembly.registry)
    hooks.call("ofa_configure", config=assembly.config)
    run = TrainingRun(folder, assembly.config, tuple(generalist.data), generalist.model)
    return [
        *([] if quiet else [Progress(config.log_every)]),
        speed,
        validation,
        Tracking(trackers, config.log_every, speed, validation),
        FaultLog(),
        written,
        PluginHooks(hooks, run, validation, written),
    ]
