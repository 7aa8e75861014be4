"""Training a generalist: loader, trainer and callbacks put together; resumed from a run folder where asked."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, nullcontext
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ofacore.checkpoint import CheckpointError, find_latest, is_sharded
from ofacore.checkpoint import load as load_snapshot
from ofacore.config.schema import TrainConfig
from ofacore.data.cursor import Cursor
from ofacore.data.errors import BadRow
from ofacore.data.loader import LoaderSettings, Step, StepLoader
from ofacore.data.loader import TaskData as TrainingData
from ofacore.evaluate.validator import Validator
from ofacore.folders import check_free, check_writable, claimed
from ofacore.model.stages import cut_model
from ofacore.parallel import groups
from ofacore.parallel.agreement import check_started_alike
from ofacore.parallel.process import tune_process
from ofacore.plugin import Registry
from ofacore.plugin.blame import Blame, who
from ofacore.plugin.hooks import RunHooks, TrainingRun
from ofacore.protocols import Batch, Schedule, TaskShare, Tracker
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
from ofacore.train.checked_schedule import CheckedSchedule
from ofacore.train.interfaces import StepData
from ofacore.train.loop import Trainer
from ofacore.train.precision import weight_dtype
from ofacore.train.shards import restore_shards

if TYPE_CHECKING:
    from ofacore.generalist import Generalist
    from ofacore.model.universal import UniversalModel

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

    def __iter__(self) -> Generator[LoadedStep, None, None]:
        with closing(iter(self.loader)) as steps:
            for step in steps:
                yield loaded(step)


def loaded(step: Step) -> LoadedStep:
    """The same step in the trainer's terms."""
    return LoadedStep(step.number, step.batches, step.counts, step.cursor.state(), step.bad, step.halves, step)


def rollout(generalist: Generalist) -> Callable[[StepData, nn.Module], StepData]:
    """The pass before each step, in the trainer's terms."""
    write = Rollout(generalist)

    def ahead(step: StepData, model: nn.Module) -> StepData:
        assert isinstance(step, LoadedStep)
        return replace(loaded(write(step.origin, model)), step=step.step)

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
    check_alike(generalist)
    place = check_folder(folder, resume)
    tune_process(config.threads)
    cores = len(os.sched_getaffinity(0))
    if config.workers > cores:
        logger.warning("train.workers=%d is more than the %d cores of this machine", config.workers, cores)
    divide(generalist)
    snapshot = load_snapshot(place, tensors=not is_sharded(place)) if place else None
    begun = _begun(place, snapshot.state) if snapshot and place else (0, Cursor())
    if begun[0] >= config.steps:
        logger.warning("%s is at step %d already: nothing to train up to %d", folder, begun[0], config.steps)
    loader = StepLoader(
        training_data(generalist), schedule(generalist), loader_settings(config), begun[1], begun[0], config.steps
    )
    trainer = Trainer(generalist.model, Steps(loader), config, folder, rollout=rollout(generalist))
    with claimed(folder) if groups.is_first() else nullcontext():
        *before, checkpointing, plugins = _callbacks(generalist, folder, begun[0], quiet)  # trackers write from here on
        trainer.callbacks = (*before, *callbacks, checkpointing, plugins)
        if snapshot and place:
            _restore(trainer, snapshot, place)
        trainer.run()
    generalist.model = whole_model(generalist).eval()
    return folder


def divide(generalist: Generalist) -> None:
    """The model in the format of its training; of several processes each keeps its part, in place."""
    model = generalist.model
    model.to(weight_dtype(generalist.assembly.config.train.precision, model.device)).shard()
    if groups.pipeline_size() > 1 and model.stage is None:
        cut_model(model, groups.pipeline_size(), groups.pipeline_rank())


def whole_model(generalist: Generalist) -> UniversalModel:
    """The model itself, or where it is one stage of a pipeline, another with the weights of all stages.

    The processes of a pipeline must call this together.
    """
    if generalist.model.stage is None:
        return generalist.model
    from ofacore.generalist import build_model

    state = generalist.model.portable_state()
    model = build_model(generalist.assembly).to(generalist.model.dtype)
    model.load_portable(state)
    return model


def check_alike(generalist: Generalist) -> None:
    """Processes of one run must have the same plugins and the same configuration.

    Raises:
        DifferentStartError: A process differs; says which one, and in what.
    """
    if groups.world_size() == 1:
        return
    assembly = generalist.assembly
    state = assembly.state()
    check_started_alike(
        {
            "set of plugins": {f"{name} ({place})": version for name, place, version in assembly.registry.lock()},
            "configuration": state["config"],
            "vocabulary": dict(state["vocabulary"]),
            "fitted artifact": {name: artifact.digest for name, artifact in assembly.artifacts.items()},
            "number of training rows": {name: len(data.source) for name, data in training_data(generalist).items()},
        }
    )


def _begun(place: Path, state: Mapping[str, Any]) -> tuple[int, Cursor]:
    """Steps done, and where the data go on."""
    try:
        return int(state["step"]), Cursor.from_state(state["cursor"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        remedy = "resume from another checkpoint, or begin a new run"
        raise CheckpointError(place, f"holds no state of a training run ({error!r}); {remedy}") from error


def _restore(trainer: Trainer, snapshot: Any, place: Path) -> None:
    try:
        if is_sharded(place):
            restore_shards(trainer, place, snapshot)
        else:
            trainer.restore(snapshot)
    except ValueError as error:
        raise CheckpointError(place, f"does not fit this run: {error}") from error
    logger.info("going on from %s", place)


def check_folder(folder: Path, resume: bool) -> Path | None:
    """The checkpoint to go on from, if any; called before any work.

    Raises:
        CheckpointError: The folder holds a run that is not to be resumed.
        UserError: The folder cannot be written to, or another process trains in it.
    """
    check_writable(folder)
    check_writable(folder / "checkpoints")
    check_free(folder)
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
    name = config.schedule.name
    options = {**registry.component("schedule", name).options, **config.schedule.options}
    build, tasks = registry.load("schedule", name), shares(generalist)
    owner = who(registry, "schedule", name)
    with Blame(owner, "when it was built"):
        made: Schedule = build(tasks, config.samples, config.seed, options)
    return CheckedSchedule(made, owner, tuple(tasks), config.samples)


def loader_settings(config: TrainConfig) -> LoaderSettings:
    """The loader's part of the training section; each data rank encodes its share of every step."""
    return LoaderSettings(
        seed=config.seed, positions=config.micro_batch_positions, samples=config.micro_batch_samples,
        packing=config.packing, bad_rows=config.faults.bad_rows, workers=config.workers,
        rank=groups.data_rank(), ranks=groups.data_size(),
    )  # fmt: skip


def _callbacks(generalist: Generalist, folder: Path, step: int, quiet: bool) -> list[Callback]:
    assembly = generalist.assembly
    config = assembly.config.train
    validator = Validator(generalist)
    known = validator.known() if config.checkpoint.best else None
    validation = Validation(_on_whole_model(validator, generalist), config.validation, config.checkpoint, known)
    speed, first = Speed(), groups.is_first()
    names = config.trackers if first else ()
    trackers = {name: _tracker(assembly.registry, name, folder, step) for name in names}
    owners = [who(assembly.registry, "tracker", name) for name in trackers]
    command = f"ofa train CONFIG --resume --out {folder}"
    written = Checkpointing(config.checkpoint, lambda: described(assembly), assembly.artifacts, validation, command)
    hooks = RunHooks(assembly.registry)
    hooks.call("ofa_configure", config=assembly.config)
    run = TrainingRun(folder, assembly.config, tuple(generalist.data), generalist.model)
    return [
        *([] if quiet or not first else [Progress(config.log_every)]),
        speed,
        validation,
        Tracking(list(trackers.values()), config.log_every, speed, validation, owners),
        *([FaultLog()] if first else []),
        written,
        PluginHooks(hooks, run, validation, written),
    ]


def _tracker(registry: Registry, name: str, folder: Path, step: int) -> Tracker:
    """A tracker with its declared options, and the step that the run goes on from."""
    build, declared = registry.load("tracker", name), registry.component("tracker", name).options
    with Blame(who(registry, "tracker", name), "when it was built"):
        made: Tracker = build(folder, {**declared, "resume_step": step})
    return made


def _on_whole_model(validator: Validator, generalist: Generalist) -> Callable[[int], dict[str, float]]:
    """Validation, for which a model of several stages is put together for the time being."""

    def validate(step: int) -> dict[str, float]:
        if generalist.model.stage is None:
            return validator(step)
        whole = copy(generalist)
        whole.model = whole_model(generalist).eval()
        return replace(validator, generalist=whole)(step)

    return validate
