"""Which models are to be trained, each with its configuration and its folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ofa_retention.study import SPECIALISTS, TEACHERS, Shift, Study, Variant
from ofacore.components.schedules import build_schedule
from ofacore.config.component_options import component_options
from ofacore.config.schema import RunConfig
from ofacore.config.train_section import AggregatorConfig, ScheduleConfig, TeacherConfig
from ofacore.generalist.run_length import in_steps
from ofacore.generalist.teachers import teachable
from ofacore.plan.planned_run import PlannedRun
from ofacore.plugin import UserError, suggest
from ofacore.protocols import Schedule, ScheduleContext, TaskShare
from ofacore.setup.datasets import TaskRows, open_available
from ofacore.setup.run_check import read_checked

MODEL = "model"
"""Folder of the trained weights within that of a model."""


@dataclass(frozen=True)
class Base:
    """An untrained model of all tasks, whose tokens its parts share."""

    config: RunConfig
    folder: Path


@dataclass(frozen=True)
class Training:
    """One model: trained in a folder of its own, then scored on its tasks."""

    model: str
    """Name of a variant, or ``specialists``."""
    seed: int
    config: RunConfig
    folder: Path
    samples: Mapping[str, int]
    """Task -> samples that the run takes."""
    rows: int
    """Most held-out rows of each task; 0: all."""
    shifts: tuple[Shift, ...] = ()
    keep: bool = False
    """Its checkpoints stay."""
    base: Base | None = None
    """It is taken out of this one; None: it is made for its own tasks alone."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of its tasks."""
        return tuple(self.config.tasks)

    @property
    def label(self) -> str:
        """How progress calls it."""
        alone = {SPECIALISTS: "specialist", TEACHERS: "teacher"}
        name = f"{alone[self.model]} of {self.tasks[0]}" if self.model in alone else self.model
        return f"seed {self.seed}: {name}"


def planned(study: Study) -> list[Training]:
    """All models of a report: of each seed the specialists, then teachers, then the generalists.

    Raises:
        UserError: A configuration, a task or data cannot be used; nothing has been trained yet.
    """
    recipe = _checked(study, ["model.experts=none"])
    recipe, data = open_available(recipe.only(_tasks(study, recipe.config)))
    for shift in study.shifts:
        _known(shift.task, recipe.config, "--data")
    recipe = _in_steps(recipe, data)
    samples = samples_of(recipe, data)
    found: list[Training] = []
    variants: dict[str, PlannedRun] = {}
    for variant in study.variants:
        run = _checked(study, variant.settings).only(recipe.config.tasks)
        variants[variant.name] = _in_steps(run, data)
        _check_samples(variant.name, variants[variant.name], recipe)
    for seed in study.seeds:
        place = study.out / f"seed-{seed}"
        if study.only != "generalist":
            found += [
                _specialist(study, recipe.config, task, samples[task], seed, place)
                for task in recipe.config.tasks
            ]
        if study.only == SPECIALISTS:
            continue
        if any(variant.taught for variant in study.variants):
            found += _teachers(study, recipe, samples, seed, place)
        for variant in study.variants:
            run = variants[variant.name]
            found.append(_generalist(study, variant, run, samples_of(run, data), seed, place))
    return found


def _checked(study: Study, settings: Sequence[str]) -> PlannedRun:
    run = read_checked([study.source], [*study.overrides, *settings])
    if run.config.parallel.nproc > 1:
        raise UserError(
            "parallel.nproc: each model is trained in one process here; set parallel.nproc=1 and "
            "train several models at a time with --jobs"
        )
    return run


def _check_samples(name: str, run: PlannedRun, recipe: PlannedRun) -> None:
    """A variant that takes more samples would be compared with specialists that have seen fewer."""
    own, others = run.config.train, recipe.config.train
    total, wanted = own.steps * own.samples, others.steps * others.samples
    if total != wanted:
        raise UserError(
            f"--variant '{name}' takes {own.steps} x {own.samples} = {total} samples, its specialists {wanted} in all; "
            "change steps and samples together, or for all models by --set"
        )


def _tasks(study: Study, config: RunConfig) -> Iterable[str]:
    for name in study.tasks:
        _known(name, config, "--tasks")
    return study.tasks or config.tasks


def _known(name: str, config: RunConfig, option: str) -> None:
    if name not in config.tasks:
        hint = suggest(name, config.tasks) or f"there are {', '.join(config.tasks)}"
        raise UserError(f"{option}: no task '{name}'; {hint}")


def _in_steps(run: PlannedRun, data: Mapping[str, TaskRows]) -> PlannedRun:
    """The run with passes over the data said in steps, as specialists divide these."""
    made = partial(_schedule, run, data, None)
    train = in_steps(run.config.train, _shares(run, data), made)
    return replace(run, config=run.config.model_copy(update={"train": train}))


def _shares(run: PlannedRun, data: Mapping[str, TaskRows]) -> dict[str, TaskShare]:
    return {
        name: TaskShare(len(rows.train), run.plans[name].weight)
        for name, rows in data.items()
        if rows.train is not None and run.plans[name].weight > 0
    }


def _schedule(
    run: PlannedRun, data: Mapping[str, TaskRows], context: ScheduleContext | None
) -> Schedule:
    """The run's schedule; with a context it knows how many steps there are."""
    train, registry = run.config.train, run.registry.pinned(component_options(run.config))
    name = train.schedule.name
    options = {**registry.component("schedule", name).options, **train.schedule.options}
    build = registry.load("schedule", name)
    return build_schedule(build, _shares(run, data), train.samples, train.seed, options, context)


def samples_of(run: PlannedRun, data: Mapping[str, TaskRows]) -> dict[str, int]:
    """Samples that each task gives to a whole run.

    Raises:
        UserError: A task gives none, so that there is nothing to compare.
    """
    train = run.config.train
    schedule = _schedule(run, data, ScheduleContext(train.steps))
    totals = dict.fromkeys(data, 0)
    for step in range(train.steps):
        for task, count in schedule.counts(step).items():
            totals[task] += count
    without = next((task for task, total in totals.items() if not total), None)
    if without is not None:
        raise UserError(
            f"task '{without}' gives no sample to the run: raise train.samples, train.steps or its "
            "weight, give it training rows, or leave it out with --tasks"
        )
    return totals


def own_steps(samples: int, steps: int) -> tuple[int, int]:
    """(steps, samples of each) of a specialist that takes as many samples of its task as a run of ``steps``.

    >>> own_steps(1200, 400), own_steps(1100, 400)
    ((400, 3), (367, 3))
    """
    each = max(1, round(samples / steps))
    return max(1, round(samples / each)), each


def _specialist(
    study: Study, recipe: RunConfig, task: str, samples: int, seed: int, place: Path
) -> Training:
    """The recipe on one task: as many of its samples, in steps that hold no others."""
    steps, each = own_steps(samples, recipe.train.steps)
    warmup = recipe.train.lr.warmup
    if warmup >= 1:
        warmup = round(warmup * steps / recipe.train.steps)
    train = recipe.train.model_copy(
        update={
            "steps": steps,
            "samples": each,
            "seed": seed,
            "schedule": ScheduleConfig(),
            "aggregator": AggregatorConfig(),
            "loss_average": "tasks",
            "lr": recipe.train.lr.model_copy(update={"warmup": warmup}),
            "checkpoint": recipe.train.checkpoint.model_copy(update={"best": "", "keep_last": 1}),
        }
    )
    config = _named(recipe, [task], f"{task}-alone", train)
    folder = place / SPECIALISTS / folder_name(task)
    shifts = tuple(shift for shift in study.shifts if shift.task == task)
    return Training(
        SPECIALISTS,
        seed,
        config,
        folder,
        {task: steps * each},
        study.rows,
        shifts,
        study.keep,
    )


def folder_name(task: str) -> str:
    """A task's name as that of a folder of its own, which ``.`` and ``..`` are not.

    >>> folder_name("speech to text"), folder_name("a/b"), folder_name("..")
    ('speech to text', 'a%2Fb', '%2E%2E')
    """
    quoted = quote(task, safe=" ")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")


def _teachers(
    study: Study, run: PlannedRun, samples: Mapping[str, int], seed: int, place: Path
) -> list[Training]:
    """Specialists again, with the generalist's tokens, so that it can learn from what they predict."""
    recipe = run.config
    seeded = recipe.train.model_copy(update={"seed": seed})
    base = Base(recipe.model_copy(update={"train": seeded}), place / "base")
    found = []
    for task in (name for name, plan in run.plans.items() if teachable(plan, run.registry)):
        alone = _specialist(study, recipe, task, samples[task], seed, place)
        folder = _teacher_folder(place, task)
        found.append(replace(alone, model=TEACHERS, folder=folder, shifts=(), base=base))
    return found


def _teacher_folder(place: Path, task: str) -> Path:
    return place / TEACHERS / folder_name(task)


def _generalist(
    study: Study,
    variant: Variant,
    run: PlannedRun,
    samples: Mapping[str, int],
    seed: int,
    place: Path,
) -> Training:
    name, train = variant.name, run.config.train.model_copy(update={"seed": seed})
    if variant.taught:
        teachers = tuple(
            TeacherConfig(
                model=str(_teacher_folder(place, task) / MODEL),
                tasks=(task,),
                weight=variant.taught,
            )
            for task, plan in run.plans.items()
            if teachable(plan, run.registry)
        )
        train = train.model_copy(update={"teachers": teachers})
    if study.snapshots:
        every = max(1, train.steps // study.snapshots)
        kept = {"every": every, "keep_last": study.snapshots}
        checkpoint = train.checkpoint.model_copy(update=kept)
        train = train.model_copy(update={"checkpoint": checkpoint})
    config = _named(run.config, run.config.tasks, name, train)
    return Training(name, seed, config, place / name, samples, study.rows, study.shifts, True)


def _named(config: RunConfig, tasks: Iterable[str], name: str, train: Any) -> RunConfig:
    kept = {task: config.tasks[task] for task in tasks}
    return config.model_copy(update={"tasks": kept, "name": name, "train": train})
