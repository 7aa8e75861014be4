"""The rows of every task: what the user gives, else the starter data of its preset."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ofacore.config.task_section import SplitConfig, TaskConfig
from ofacore.encoding.columns import ColumnMap
from ofacore.encoding.slot_kinds import file_slots
from ofacore.ground.errors import UserError
from ofacore.ground.scattered import scattered
from ofacore.plan import TaskPlan
from ofacore.plan.lookups import read_columns
from ofacore.plan.planned_run import PlannedRun
from ofacore.plugin import Registry
from ofacore.plugin.blame import Blamed, who
from ofacore.protocols import RowError
from ofacore.sources import ListSource, Source, notes_of, open_source
from ofacore.sources.held_out import held_out

logger = logging.getLogger("ofacore.training")
Baseline = Callable[[Mapping[str, Any]], list[Mapping[str, Any]]]


class DataError(UserError):
    """A task has no usable data; the message names the task and what to give."""


@dataclass(frozen=True)
class TaskRows:
    """Rows of one task by split."""

    splits: Mapping[str, Source]
    baseline: Baseline | None = None
    baseline_doc: str = ""

    @property
    def train(self) -> Source | None:
        """Training rows, if there are any."""
        return self.splits.get("train")

    def held_out(self, split: str = "test") -> Source | None:
        """The split asked for, else the nearest one that is not training data."""
        return next((self.splits[s] for s in (split, "test", "valid") if s in self.splits), None)

    def baseline_rows(self) -> list[Mapping[str, Any]] | None:
        """The baseline's prediction for every test row."""
        if self.baseline is None:
            return None
        return self.baseline({name: list(_rows(source)) for name, source in self.splits.items()})


def open_tasks(run: PlannedRun) -> dict[str, TaskRows]:
    """Open the data of every task; starter data are fetched and prepared if need be.

    Raises:
        SourceError: A file cannot be opened.
        DataError: A task names no data and its preset has none.
    """
    return {
        name: open_task(plan, run.config.tasks[name], run.registry)
        for name, plan in run.plans.items()
    }


def open_available(run: PlannedRun) -> tuple[PlannedRun, dict[str, TaskRows]]:
    """As `open_tasks`, but tasks with ``data.optional`` whose starter data cannot be had are left out, and told.

    Returns:
        The run with the other tasks, and their data.

    Raises:
        UserError: Data of a task that is not optional, or of all tasks, cannot be had.
    """
    opened: dict[str, TaskRows] = {}
    failures: dict[str, UserError] = {}
    for name, plan in run.plans.items():
        task = run.config.tasks[name]
        try:
            opened[name] = open_task(plan, task, run.registry)
        except UserError as error:
            if not task.data.optional:
                raise
            failures[name] = error
    if failures and not opened:
        raise next(iter(failures.values()))
    for name, failure in failures.items():
        logger.warning("task '%s' is left out: %s", name, failure)
    return run.only(opened), opened


def open_task(plan: TaskPlan, task: TaskConfig, registry: Registry, held_out: str = "") -> TaskRows:
    """Open the data of one task; with ``held_out`` of the user's files only those that `TaskRows.held_out` takes."""
    name = plan.name
    given = {split: getattr(task.data, split) for split in ("train", "valid", "test")}
    given = {split: spec for split, spec in given.items() if spec is not None}
    if given:
        _warn_of_same(name, given)
        shares = _shares_of_train(given, task.data.split)
        sought = (held_out, "test", "valid") if held_out else ()
        if wanted := next((split for split in sought if split in given or split in shares), ""):
            place = "train" if wanted in shares else wanted
            given = {place: given[place]}
        paths = path_columns(plan, registry)
        opened = {
            split: open_source(spec, task.data, split, paths) for split, spec in given.items()
        }
        for note in dict.fromkeys(note for source in opened.values() for note in notes_of(source)):
            logger.warning("task '%s': %s", name, note)
        return TaskRows(_with_held_out(name, opened, shares, paths))
    preset = registry.preset(task.preset) if task.preset else None
    if preset is None or not preset.data:
        remedy = f"set tasks.{name}.data.train to a file, a folder or a list of rows"
        raise DataError(f"task '{name}' has no data: {remedy}")
    owner = who(registry, "preset", task.preset)
    splits = Blamed(registry.resolve(preset.data), owner, f"starter data of task '{name}'")()
    baseline = None
    if preset.baseline:
        baseline = Blamed(registry.resolve(preset.baseline), owner, f"baseline of task '{name}'")
    sources = {
        split: ListSource(rows, f"{name}/{split}") for split, rows in splits.items() if len(rows)
    }
    return TaskRows(sources, baseline, preset.baseline_doc)


def _shares_of_train(given: Collection[str], split: SplitConfig | None) -> dict[str, float]:
    """Splits that are cut off from the training rows, as nothing is given for them -> share."""
    if split is None or "train" not in given:
        return {}
    wanted = {"valid": split.valid, "test": split.test}
    return {name: share for name, share in wanted.items() if share and name not in given}


def _with_held_out(
    name: str, opened: dict[str, Source], shares: Mapping[str, float], paths: Sequence[str]
) -> dict[str, Source]:
    """The splits, with those that are cut off from the training rows."""
    if not shares or "train" not in opened:
        return opened
    found = {**opened, **held_out(opened["train"], shares, paths)}
    sizes = ", ".join(f"{key} {len(source)}" for key, source in found.items())
    logger.info("task '%s': rows held out by a hash of each: %s", name, sizes)
    return found


def path_columns(plan: TaskPlan, registry: Registry) -> tuple[str, ...]:
    """Columns of a task whose text may name files."""
    return tuple(plan.columns.get(slot, slot) for slot in file_slots(plan.slots(), registry))


def _warn_of_same(name: str, given: Mapping[str, Any]) -> None:
    """Scores on rows that were trained on tell nothing of new ones."""
    for split in ("valid", "test"):
        if (
            split in given
            and "train" in given
            and isinstance(given[split], str)
            and given[split] == given["train"]
            and not Path(given[split], "dataset_dict.json").is_file()
        ):
            logger.warning(
                "task '%s': %s and train are the same data, %s", name, split, given[split]
            )


def rows_of(
    run: PlannedRun,
    opened: Mapping[str, TaskRows],
    names: Sequence[str],
    given: Mapping[str, Any] | None,
    split: str,
    *,
    training: bool = False,
) -> dict[str, TaskRows]:
    """Rows of some tasks of a model: those given now, else those opened before, else those that the tasks name.

    Args:
        run: The model's tasks and their plans.
        opened: Task -> its data, as far as it is open.
        names: The tasks.
        given: Task -> rows in any form, for one split.
        split: That split.
        training: Open all splits that the tasks name; otherwise only the one asked for.

    Raises:
        SourceError: Data cannot be opened.
        DataError: A task has rows nowhere.
    """
    found: dict[str, TaskRows] = {}
    for name in names:
        task, plan = run.config.tasks[name], run.plans[name]
        if given and name in given:
            paths = path_columns(plan, run.registry)
            found[name] = TaskRows({split: open_source(given[name], task.data, split, paths)})
        elif name in opened:
            found[name] = opened[name]
        else:
            wanted = "" if training else split
            try:
                found[name] = open_task(plan, task, run.registry, wanted)
            except DataError:
                lost = "its rows were given as Python objects, which a saved model does not keep"
                remedy = f"in Python give data={{'{name}': rows}}; to keep them, make the model from files"
                raise DataError(f"task '{name}': {lost}; {remedy}") from None
    return found


def sampled_rows(
    plan: TaskPlan, data: TaskRows, registry: Registry, most: int
) -> Iterator[dict[str, Any]]:
    """Training rows with columns mapped and transformed; bad rows are passed over.

    Of twice as many as ``most``, or more, so many are taken, see `scattered`; else all.
    """
    return (row for _, row in named_rows(plan, data.train, registry, most))


def is_sampled(source: Source | None, most: int) -> bool:
    """Whether `sampled_rows` takes only some of these rows."""
    return source is not None and len(source) >= 2 * most


def named_rows(
    plan: TaskPlan, source: Source | None, registry: Registry, most: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """As `sampled_rows`, of any split, each with the name of its place."""
    if source is None or not len(source):
        return
    columns = ColumnMap.of(
        plan.columns,
        plan.transforms,
        registry.make,
        file_slots(plan.slots(), registry),
        read_columns(plan),
    )
    taken = most if is_sampled(source, most) else len(source)
    for index in scattered(len(source), taken):
        try:
            yield source.name(index), columns.apply(source[index])
        except RowError:
            continue


def _rows(source: Source) -> Iterator[dict[str, Any]]:
    return (row for _, row in readable(source) if not isinstance(row, RowError))


def readable(
    source: Source, most: int | None = None
) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """Up to ``most`` rows, evenly spread (all without a limit): number, and the row or why it cannot be read."""
    for index in spread(len(source), most):
        try:
            yield index, source[index]
        except RowError as error:
            yield index, error


def spread(rows: int, most: int | None = None) -> list[int]:
    """Numbers of up to ``most`` of so many rows, evenly spread, as rows are often sorted; all without a limit.

    See `scattered`: rows of two kinds often take turns, too.
    """
    return list(scattered(rows, most or rows))
