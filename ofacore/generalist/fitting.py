"""Training a generalist: loader, trainer and callbacks put together; resumed from a run folder where asked."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ofacore.batching.cursor import Cursor
from ofacore.batching.steps import LoaderSettings, StepLoader
from ofacore.batching.steps import TaskData as TrainingData
from ofacore.checkpoint import CheckpointError, Snapshot, find_latest, is_sharded
from ofacore.checkpoint import load as load_snapshot
from ofacore.checkpoint.by_name import origin_in, origin_of
from ofacore.checkpoint.sharded import stored
from ofacore.components.schedules import build_schedule
from ofacore.config.problems import ConfigError
from ofacore.config.train_section import TrainConfig
from ofacore.evaluation.validator import Validator
from ofacore.generalist.rollout import Rollout
from ofacore.generalist.storing import described
from ofacore.generalist.teachers import teaching_of
from ofacore.generalist.upgrading import is_outdated, upgraded
from ofacore.generalist.whole_model import on_whole_model, whole_model
from ofacore.ground.folders import check_free, check_writable, claimed
from ofacore.ground.machine import processors
from ofacore.model.pipeline.stages import cut_model
from ofacore.parallel import process_groups as groups
from ofacore.parallel.agreement import all_succeeded, check_started_alike
from ofacore.parallel.process import tune_process
from ofacore.plan.planned_run import PlannedRun
from ofacore.plugin import Registry
from ofacore.plugin.blame import who
from ofacore.plugin.guard import built_by
from ofacore.plugin.hooks import RunHooks, TrainingRun
from ofacore.protocols import Schedule, ScheduleContext, TaskShare, Tracker
from ofacore.setup.layout_check import aggregator_problems, criterion_problems, teacher_problems
from ofacore.training.callbacks.base import Callback
from ofacore.training.callbacks.checkpointing import Checkpointing
from ofacore.training.callbacks.end_mark import EndMark
from ofacore.training.callbacks.fault_log import FaultLog
from ofacore.training.callbacks.joined_metrics import JoinedMetrics
from ofacore.training.callbacks.plugin_hooks import PluginHooks
from ofacore.training.callbacks.progress import Progress
from ofacore.training.callbacks.speed import Speed
from ofacore.training.callbacks.time_left import TimeLeft
from ofacore.training.callbacks.tracking import Tracking
from ofacore.training.callbacks.validation import Validation
from ofacore.training.loop import Trainer
from ofacore.training.optim.precision import RunFormat, choose_format, format_of_checkpoint
from ofacore.training.state.sharded_state import restore_shards
from ofacore.training.step.aggregation import run_aggregator
from ofacore.training.step.checked_schedule import CheckedSchedule

if TYPE_CHECKING:
    from ofacore.generalist.facade import Generalist

logger = logging.getLogger("ofacore.training")


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
    assembly = generalist.assembly
    config = assembly.config.train
    run = PlannedRun(assembly.config, assembly.registry, assembly.plans)
    if problems := [
        *aggregator_problems(assembly.config, assembly.registry, groups.layout()),
        *criterion_problems(run, groups.layout()),
        *teacher_problems(assembly.config, groups.layout()),
    ]:
        raise ConfigError(problems)
    check_alike(generalist)
    place = check_folder_together(folder, resume)
    tune_process(config.threads)
    cores = processors()
    if config.workers > cores:
        logger.warning(
            "train.workers=%d is more than the %d cores that this process may use",
            config.workers,
            cores,
        )
    snapshot, whole = _stored_state(generalist, place) if place else (None, True)
    chosen = run_format(generalist, place, snapshot)
    logger.info(chosen.told)
    teaching = teaching_of(generalist, chosen.dtype)
    divide(generalist, chosen.dtype)
    begun = _begun(place, snapshot.state) if snapshot and place else (0, Cursor())
    generalist.assembly.origin = _origin(generalist, snapshot)
    if begun[0] >= config.steps:
        logger.warning(
            "%s is at step %d already: nothing to train up to %d", folder, begun[0], config.steps
        )
    data = training_data(generalist)
    _tell_left_tasks(begun[1], data)
    loader = StepLoader(
        data,
        schedule(generalist),
        loader_settings(config),
        begun[1],
        begun[0],
        config.steps,
    )
    trainer = Trainer(
        generalist.model,
        loader,
        config,
        folder,
        rollout=Rollout(generalist),
        dtype=chosen.dtype,
        aggregator=run_aggregator(config, generalist.assembly.registry),
        teaching=teaching,
    )
    with _exact_after(trainer), _claimed_together(folder):
        opening = None
        if groups.is_first() and not quiet:
            opening = "\n".join([chosen.told, *([teaching.told] if teaching else [])])
        *before, checkpointing, plugins = _callbacks(
            generalist, folder, begun[0], opening
        )  # trackers write from here
        marks = [EndMark()] if groups.is_first() else []
        trainer.callbacks = (*before, *callbacks, checkpointing, plugins, *marks)
        if snapshot and place:
            _restore(trainer, snapshot, place, whole)
        trainer.run()
    trainer.leave()
    generalist.model = whole_model(generalist).eval()
    generalist.source = find_latest(folder)
    return folder


@contextmanager
def _exact_after(trainer: Trainer) -> Iterator[None]:
    """A run that fails leaves exact weights, too, as far as this process has them."""
    try:
        yield
    except BaseException:
        trainer.optimizer.close(everywhere=False)
        raise


def run_format(
    generalist: Generalist, place: Path | None = None, snapshot: Snapshot | None = None
) -> RunFormat:
    """The number format of a run, as configured; one that goes on from ``snapshot`` stays in that of its beginning."""
    begun = ""
    if place and snapshot:
        names = stored(place) if is_sharded(place) else snapshot.optimizer
        begun = format_of_checkpoint(snapshot.state, names)
    return choose_format(generalist.assembly.config.train.precision, begun, generalist.model.device)


def divide(generalist: Generalist, dtype: torch.dtype) -> None:
    """Of several processes each keeps its part of the model, in place; layers that FSDP splits compute in ``dtype``."""
    model = generalist.model
    model.float().shard(dtype)
    if groups.pipeline_size() > 1 and model.stage is None:
        cut_model(model, groups.pipeline_size(), groups.pipeline_rank())


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
            "set of plugins": {
                f"{name} ({place})": version for name, place, version in assembly.registry.lock()
            },
            "configuration": state["config"],
            "vocabulary": dict(state["vocabulary"]),
            "fitted artifact": {
                name: artifact.digest for name, artifact in assembly.artifacts.items()
            },
            "number of training rows": {
                name: len(data.source) for name, data in training_data(generalist).items()
            },
        }
    )


def _begun(place: Path, state: Mapping[str, Any]) -> tuple[int, Cursor]:
    """Steps done, and where the data go on."""
    try:
        return int(state["step"]), Cursor.from_state(state["cursor"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        remedy = "resume from another checkpoint, or begin a new run"
        raise CheckpointError(
            place, f"holds no state of a training run ({error!r}); {remedy}"
        ) from error


def _tell_left_tasks(cursor: Cursor, data: Mapping[str, TrainingData]) -> None:
    """A run that goes on without one of its tasks forgets it: that is said."""
    for task in cursor.positions:
        if task not in data:
            logger.warning("task '%s' was trained until here, and is not from now on", task)


def _origin(generalist: Generalist, snapshot: Snapshot | None) -> dict[str, Any]:
    """What the weights are before this run trains them; of a run that goes on, what they were when it began."""
    if snapshot is not None:
        return origin_in(snapshot.state)
    if generalist.source is None:
        return generalist.assembly.origin
    return origin_of(generalist.source) if groups.is_first() else {}  # the first process writes


def _stored_state(generalist: Generalist, place: Path) -> tuple[Snapshot, bool]:
    """What a run goes on from, as today's plugins would have written it, and whether its tensors are whole.

    Those of the sharded form are read later, by pieces, unless a plugin has to bring them up to date.
    """
    snapshot, registry = (
        load_snapshot(place, tensors=not is_sharded(place)),
        generalist.assembly.registry,
    )
    components = snapshot.state.get("assembly", {}).get("components", {})
    if not is_outdated(components, registry):
        return snapshot, not is_sharded(place)
    return upgraded(place, load_snapshot(place), components, registry), True


def _restore(trainer: Trainer, snapshot: Any, place: Path, whole: bool) -> None:
    try:
        if whole:
            trainer.restore(snapshot)
        else:
            restore_shards(trainer, place, snapshot)
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


def check_folder_together(folder: Path, resume: bool) -> Path | None:
    """`check_folder` by all processes of a run: none goes on to claim the folder before all have looked at it.

    Raises:
        CheckpointError: As there, or the processes do not find the same.
        UserError: As there, on any process.
    """
    found = all_succeeded(lambda: check_folder(folder, resume))
    names = [place.name if place else "no checkpoint" for place in found]
    other = next((rank for rank, name in enumerate(names) if name != names[0]), None)
    if other is not None:
        reason = f"process {other} finds {names[other]} there, process 0 finds {names[0]}"
        raise CheckpointError(
            folder, f"{reason}; all processes need the same folder, also on several machines"
        )
    return found[groups.world_rank()]


@contextmanager
def _claimed_together(folder: Path) -> Iterator[None]:
    """The folder is claimed by the first process; the others go on once it has."""
    with ExitStack() as kept:

        def claim() -> None:
            if groups.is_first():
                kept.enter_context(claimed(folder))

        all_succeeded(claim)
        yield


def training_data(generalist: Generalist) -> dict[str, TrainingData]:
    """Rows and encoders of the tasks that are trained and have training rows."""
    encoders, trained = generalist.assembly.encoders, generalist.trained
    return {
        name: TrainingData(data.train, encoders[name])
        for name, data in generalist.data.items()
        if data.train is not None
        and generalist.assembly.plans[name].weight > 0
        and (trained is None or name in trained)
    }


def shares(generalist: Generalist) -> dict[str, TaskShare]:
    """What the schedule knows of the tasks."""
    return {
        name: TaskShare(len(data.source), generalist.assembly.plans[name].weight)
        for name, data in training_data(generalist).items()
    }


def schedule(generalist: Generalist, length_known: bool = True) -> Schedule:
    """The configured schedule; it is told how many steps the run has, where that is known."""
    config, registry = generalist.assembly.config.train, generalist.assembly.registry
    name = config.schedule.name
    options = {**registry.component("schedule", name).options, **config.schedule.options}
    build, tasks = registry.load("schedule", name), shares(generalist)
    owner = who(registry, "schedule", name)
    with built_by(owner):
        context = ScheduleContext(config.steps) if length_known else None
        made = build_schedule(build, tasks, config.samples, config.seed, options, context)
    return CheckedSchedule(made, owner, tuple(tasks), config.samples)


def loader_settings(config: TrainConfig) -> LoaderSettings:
    """The loader's part of the training section; each data rank encodes its share of every step."""
    return LoaderSettings(
        seed=config.seed,
        positions=config.micro_batch_positions,
        samples=config.micro_batch_samples,
        packing=config.packing,
        bad_rows=config.faults.bad_rows,
        workers=config.workers,
        rank=groups.data_rank(),
        ranks=groups.data_size(),
    )


def _callbacks(
    generalist: Generalist, folder: Path, step: int, opening: str | None
) -> list[Callback]:
    """``opening``: what a person is told first; None: a person is told nothing."""
    assembly = generalist.assembly
    config = assembly.config.train
    validator = Validator(generalist)
    known = validator.known() if config.checkpoint.best else None
    validation = Validation(
        on_whole_model(validator, generalist),
        config.validation,
        config.checkpoint,
        known,
        JoinedMetrics(validator.deciding),
        validator.higher,
    )
    speed, first = Speed(), groups.is_first()
    names = config.trackers if first else ()
    trackers = {name: _tracker(assembly.registry, name, folder, step) for name in names}
    owners = [who(assembly.registry, "tracker", name) for name in trackers]
    command = f"the same ofa train, with --resume --out {folder}" if opening else ""
    written = Checkpointing(
        config.checkpoint, lambda: described(assembly), assembly.artifacts, validation, command
    )
    hooks = RunHooks(assembly.registry)
    hooks.call("ofa_configure", config=assembly.config)
    left = TimeLeft(validation, written)
    rows = {name: len(data.source) for name, data in training_data(generalist).items()}
    progress = Progress(
        config.log_every,
        opening=opening or "",
        time_left=left,
        validation=validation,
        rows=rows,
    )
    logged = list(trackers.values())
    tracking = Tracking(
        logged,
        config.log_every,
        speed,
        validation,
        owners,
        left,
        rows,
        assembly.registry.strict,
    )
    run = TrainingRun(folder, assembly.config, tuple(generalist.data), generalist.model)
    return [
        left,
        speed,
        validation,
        *([] if opening is None else [progress]),
        tracking,
        *([FaultLog()] if first else []),
        written,
        PluginHooks(hooks, run, validation, written),
    ]


def _tracker(registry: Registry, name: str, folder: Path, step: int) -> Tracker:
    """A tracker with its declared options, and the step that the run goes on from."""
    build, declared = registry.load("tracker", name), registry.component("tracker", name).options
    with built_by(who(registry, "tracker", name)):
        made: Tracker = build(folder, {**declared, "resume_step": step})
    return made
