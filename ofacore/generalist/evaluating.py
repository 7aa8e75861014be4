"""Scoring what a user asks for: tasks, rows and options are checked, then each task is evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ofacore.config.problems import ConfigError
from ofacore.evaluation.evaluation_errors import EvaluationError
from ofacore.evaluation.given_rows import check_rows
from ofacore.evaluation.report import ScoreRow
from ofacore.evaluation.runner import Evaluation, evaluate_tasks
from ofacore.ground.errors import UserError
from ofacore.plan.generation import target_slots, untaken
from ofacore.plugin import suggest
from ofacore.setup.datasets import TaskRows, open_task, rows_of

if TYPE_CHECKING:
    from ofacore.generalist.facade import Generalist

SPLITS = ("train", "valid", "test")


def evaluations(
    generalist: Generalist,
    tasks: Iterable[str] = (),
    *,
    split: str = "test",
    limit: int | None = None,
    baseline: bool = True,
    data: Mapping[str, Any] | None = None,
    generation: Mapping[str, Any] | None = None,
    seconds: float | None = None,
    shows: bool = False,
) -> Iterator[Evaluation]:
    """Evaluate tasks, one after the other; everything is checked before the first.

    Args:
        generalist: The model.
        tasks: Which; none: those that ``data`` names, else all.
        split: Which rows.
        limit: Most rows of each task.
        baseline: Score the presets' baselines too.
        data: Task -> rows to score on; default: those that the tasks name. Nothing else is read,
            but the training rows that quick methods learn from.
        generation: Options of generation.
        seconds: That quick methods may take in all; None: as long as they need.
        shows: Tell on standard error how many rows are answered.

    Raises:
        UserError: No such task or split, rows that do not fit, or an option that none of the tasks takes.
    """
    given = dict(data or {})
    for name in (*tasks, *given):
        if name not in generalist.tasks:
            hint = suggest(name, generalist.tasks) or f"there are {', '.join(generalist.tasks)}"
            raise UserError(f"no task '{name}' in this model; {hint}")
    if split not in SPLITS:
        hint = suggest(split, SPLITS) or f"there are {', '.join(SPLITS)}"
        raise UserError(f"no split '{split}'; {hint}")
    names = tuple(dict.fromkeys(tasks)) or tuple(given) or _with_rows(generalist)
    _check_options(generalist, names, generation or {})
    judged = copy(generalist)
    aside = {name: rows for name, rows in generalist.aside.items() if rows is not None}
    known = {**aside, **generalist.data}
    found = rows_of(generalist.assembly.run, known, names, given, split)
    judged.data = {
        name: rows if name in given else _with_held_out(generalist, name, rows, split)
        for name, rows in found.items()
    }
    if baseline and split == "test" and generalist.registry.names("baseline"):
        judged.data = {
            name: _with_training(generalist, name, rows) for name, rows in judged.data.items()
        }
    for name in given.keys() & set(names):
        source = judged.data[name].held_out(split)
        encoder = generalist.assembly.encoder(generalist.assembly.plans[name])
        if source is not None:
            check_rows(source, encoder, generalist.registry)
    return evaluate_tasks(judged, names, split, limit, baseline, generation, seconds, shows)


def scores_of(found: Iterable[Evaluation]) -> list[ScoreRow]:
    """The scores of all evaluations.

    Raises:
        EvaluationError: Some metrics could not be computed; its ``scores`` hold everything that could.
    """
    done = list(found)
    scores = [row for evaluation in done for row in evaluation.scores]
    failures = [failure for evaluation in done for failure in evaluation.failures]
    if failures:
        raise EvaluationError(failures, scores)
    return scores


def _with_rows(generalist: Generalist) -> tuple[str, ...]:
    """The tasks of a model but those that training leaves out and whose rows nobody has."""
    lost = {
        name
        for name, rows in generalist.aside.items()
        if rows is None and not _names_rows(generalist, name, SPLITS)
    }
    return tuple(name for name in generalist.tasks if name not in lost)


def _names_rows(generalist: Generalist, name: str, splits: Iterable[str]) -> bool:
    """Whether a task names rows of one of these splits, or has starter data in their place."""
    task = generalist.assembly.config.tasks[name]
    if any(getattr(task.data, split) is not None for split in splits):
        return True
    named = any(getattr(task.data, split) is not None for split in SPLITS)
    return not named and bool(task.preset) and bool(generalist.registry.preset(task.preset).data)


def _with_held_out(generalist: Generalist, name: str, rows: TaskRows, split: str) -> TaskRows:
    """Also with the held-out rows that the task names, which a training on other rows did not open."""
    data = generalist.assembly.config.tasks[name].data
    if rows.held_out(split) is not None:
        return rows
    if data.split is None and not _names_rows(generalist, name, ("valid", "test")):
        return rows
    plan, run = generalist.assembly.plans[name], generalist.assembly.run
    opened = open_task(plan, run.config.tasks[name], run.registry, split)
    return replace(opened, splits={**opened.splits, **rows.splits})


def _with_training(generalist: Generalist, name: str, rows: TaskRows) -> TaskRows:
    """Also with the training rows, which quick methods learn from, where these can still be opened."""
    if rows.train is not None or generalist.assembly.config.tasks[name].data.train is None:
        return rows
    plan, run = generalist.assembly.plans[name], generalist.assembly.run
    try:
        opened = open_task(plan, run.config.tasks[name], run.registry, "train")
    except UserError:
        return rows
    training = {} if opened.train is None else {"train": opened.train}
    return replace(rows, splits={**rows.splits, **training})


def _check_options(
    generalist: Generalist, names: Iterable[str], generation: Mapping[str, Any]
) -> None:
    """Every option is taken by one of the tasks."""
    plans = {name: generalist.assembly.plans[name] for name in names}
    slots = [slot for plan in plans.values() for slot in target_slots(plan)]
    whose = ", ".join(f"'{name}'" for name in plans)
    if problems := untaken("generation", generation, slots, generalist.registry, whose):
        raise ConfigError(problems)
