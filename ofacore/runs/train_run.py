"""Whole runs, as the command line starts them: check, build, train, score, report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ofacore.checkpoint import CheckpointError, find_latest, load_state
from ofacore.components.schedules import expected_shares
from ofacore.config.component_options import OLDER, OptionTable, by_key, of_loop, of_model
from ofacore.config.schema import RunConfig
from ofacore.decoding.checking import check_generation
from ofacore.evaluation.evaluation_errors import MetricError
from ofacore.evaluation.metric_check import try_metrics
from ofacore.generalist.facade import Generalist, build_model
from ofacore.generalist.fitting import check_folder_together, fit, schedule
from ofacore.generalist.run_length import settle_steps
from ofacore.generalist.storing import load
from ofacore.ground.figures import figure
from ofacore.launch.heartbeat import Heartbeat
from ofacore.launch.joining import joined
from ofacore.parallel import process_groups as groups
from ofacore.parallel.process import tune_process
from ofacore.parallel.process_groups import is_first
from ofacore.plan.criterion_needs import attention_needs, told
from ofacore.plan.planned_run import PlannedRun
from ofacore.plugin import Registry
from ofacore.runs.extended_run import Extension, begin, set_aside
from ofacore.runs.extension_tables import (
    Known,
    print_change,
    print_extension,
    scores_before,
    scores_left,
)
from ofacore.runs.scoring_run import finish, print_table
from ofacore.runs.trained_parts import print_trained, trained_parts
from ofacore.setup.assembly import Assembly
from ofacore.setup.datasets import TaskRows, open_available
from ofacore.setup.stored_description import described_model
from ofacore.training.callbacks.base import Callback
from ofacore.training.loop import Trainer
from ofacore.training.stop import SIGNALS

logger = logging.getLogger("ofacore.training")


def train_run(
    run: PlannedRun,
    *,
    extension: Extension | None = None,
    resume: bool = False,
    dry_run: bool = False,
    folder: Path | None = None,
    console: Console | None = None,
) -> Path:
    """Train a configured run, score it on held-out rows and write its report.

    Args:
        run: What `checked_run` found right; where the run goes on, with the plugins that it began with.
        extension: The model that it starts from, and what the run adds to it; None: it starts from nothing.
        resume: Go on from the folder's latest checkpoint.
        dry_run: Print plans, sizes, memory and shares, run two steps on all processes, write nothing.
        folder: Run folder; default: what the configuration says.
        console: Where to print; default: standard output.

    Returns:
        The run folder.

    Raises:
        UserError: Data, folder or rows cannot be used.
        SystemExit: A signal ended the run, after it was saved; the code is 128 + its number, as shells have it.
    """
    folder = folder or Path(run.config.out.format(name=run.config.name))
    tune_process(run.config.train.threads)
    with joined(run.config.parallel) as watch:
        console = console or Console(soft_wrap=True, quiet=not is_first())
        return _train(run, extension, resume, dry_run, folder, console, watch)


def _train(
    run: PlannedRun,
    extension: Extension | None,
    resume: bool,
    dry_run: bool,
    folder: Path,
    console: Console,
    watch: Sequence[Heartbeat],
) -> Path:
    found = None if dry_run else check_folder_together(folder, resume)
    if found is not None:
        console.print(f"going on from {found.name}", markup=False, highlight=False)
    generalist = _generalist(run, extension, folder, resume)
    settle_steps(generalist)
    size = sum(parameter.numel() for parameter in generalist.model.parameters())
    console.print(
        f"model: {size / 1e6:.1f} M parameters, vocabulary {generalist.assembly.vocabulary.size}"
    )
    print_tasks(generalist, console)
    before: Known = {}
    if extension is not None:
        if not dry_run:
            goes_on = resume and find_latest(folder) is not None
            before = scores_before(generalist, extension, folder, goes_on)
        print_extension(generalist, extension, before, console)
    trained = trained_parts(generalist.model, generalist.assembly.config.train.optimizer)
    if dry_run or any(part.trained < part.parameters for part in trained):
        print_trained(trained, console)
    if dry_run:
        from ofacore.runs.rehearsal import rehearse

        rehearse(generalist, console)
        return folder
    ending = _Ending()
    fit(generalist, folder, resume=resume, callbacks=[*watch, ending])
    if ending.signal and groups.world_size() == 1:
        raise SystemExit(128 + ending.signal)
    if ending.signal:  # a launcher would take another exit code for a failure
        return folder
    scores = finish(generalist, folder, console, watch=watch)
    if extension is not None:
        after = [*scores, *scores_left(generalist)]
        print_change(extension, before, after, console)
    return folder


class _Ending(Callback):
    """Remembers the signal that ended the run: who sent it does not wait for scores."""

    name = "ending"
    trainer: Trainer | None = None

    def on_end(self, trainer: Trainer) -> None:
        self.trainer = trainer

    @property
    def signal(self) -> int:
        """Its number, or 0; also of one that came while the last checkpoint was written."""
        reason = self.trainer.stop.reason if self.trainer else ""
        return next((int(number) for number in SIGNALS if number.name == reason), 0)


def _generalist(
    run: PlannedRun, extension: Extension | None, folder: Path, resume: bool
) -> Generalist:
    """A new model, or a grown one; when resuming, one with the vocabulary and artifacts that the run began with."""
    place = find_latest(folder) if resume else None
    if place is None and extension is not None:
        return begin(extension, run)
    run, data = open_available(run)
    if place is None:
        assembly = Assembly.create(run, data)
        try_metrics(assembly, data)
        check_generation(assembly, data)
        return Generalist(assembly, build_model(assembly), data)
    config = run.config if extension is None else extension.config_with(data)
    registry = run.registry
    begun = load(place, registry)
    state = described_model(place, load_state(place))
    stored = RunConfig.model_validate(state["config"])
    if set(stored.tasks) != set(config.tasks):
        began, now = (", ".join(sorted(tasks)) for tasks in (stored.tasks, config.tasks))
        remedy = "go on with the same tasks (and --from, if it began so), or begin another run with --out"
        raise CheckpointError(
            place, f"the run began with tasks {began}, the configuration has {now}; {remedy}"
        )
    for key in changed_keys(stored, config):
        logger.warning(
            "%s differs from what the run began with and is not changed by resuming", key
        )
    kept = {key: getattr(config, key) for key in ("train", "parallel", "out", "name")}
    kept["options"] = by_key({**of_model(stored), **of_loop(config)})
    settings = loop_options(stored, config, registry)
    pinned = begun.assembly.registry.pinned(settings)
    begun.assembly.configure(stored.model_copy(update=kept), pinned)
    begun.data = data
    if extension is not None:
        set_aside(begun, data)
    return begun


def loop_options(stored: RunConfig, config: RunConfig, registry: Registry) -> OptionTable:
    """All options of the schedules and trackers that a run that goes on names in its table, now or when it began."""
    now = of_loop(config)
    found: OptionTable = {}
    for kind, name in {**of_loop(stored), **now}:
        if name in registry.names(kind):
            found[kind, name] = {
                **registry.component(kind, name).options,
                **now.get((kind, name), {}),
            }
    return found


def changed_keys(stored: RunConfig, config: RunConfig) -> list[str]:
    """Keys outside of the loop that a resumed run keeps from its checkpoint although the configuration differs."""
    old, new = stored.model_dump(), config.model_dump()
    keys = [
        f"model.{key}"
        for key in new["model"]
        if key not in OLDER and old["model"].get(key) != new["model"][key]
    ]
    set_before, set_now = by_key(of_model(stored)), by_key(of_model(config))
    keys += [
        f"options.{key}"
        for key in {**set_before, **set_now}
        if set_before.get(key) != set_now.get(key)
    ]
    for name in dict.fromkeys([*old["tasks"], *new["tasks"]]):
        before, after = old["tasks"].get(name), new["tasks"].get(name)
        if before is None or after is None:
            keys.append(f"tasks.{name}")
        else:
            kept = [
                key
                for key in after
                if key not in ("data", "closed_sets") and before[key] != after[key]
            ]
            keys += [f"tasks.{name}.{key}" for key in kept]
    return keys


def print_tasks(generalist: Generalist, console: Console) -> None:
    """The tasks with their metric, baseline and expected share of samples."""
    config = generalist.assembly.config.train
    shares = expected_shares(schedule(generalist), config.steps)
    lines = []
    for name, data in generalist.data.items():
        plan = generalist.assembly.plans[name]
        metric = plan.metrics[0].metric if plan.metrics else ""
        rows = len(data.train) if data.train is not None else 0
        share = shares.get(name, 0)
        passes = share * config.samples * config.steps / rows if rows else 0.0
        baseline = baseline_text(generalist, name, data)
        lines.append((name, metric, baseline, f"{share:.1%}", str(rows), f"{passes:.3g}"))
    console.print(f"tasks, {config.steps} steps", highlight=False)
    titles = ("task", "metric", "baseline", "share", "train rows", "epochs")
    print_table(titles, lines, console)
    for name, plan in generalist.assembly.plans.items():
        for criterion, layers in attention_needs(plan, generalist.assembly.registry).items():
            console.print(f"task {name}: {told(criterion, layers)}", markup=False, highlight=False)


def baseline_text(generalist: Generalist, name: str, data: TaskRows) -> str:
    """The baseline's score and what it does."""
    from ofacore.evaluation.runner import baseline_score

    plan = generalist.assembly.plans[name]
    try:
        value = baseline_score(generalist.assembly, plan, data)
    except MetricError as error:
        return f"not scored: {error.reason}"
    return "" if value is None else f"{figure(value)} ({data.baseline_doc})"
