"""The whole check of a run before any work: what is configured, what is installed, and the columns of the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ofacore.config import ConfigError, Place, Problem, read
from ofacore.config.loading import ConfigText
from ofacore.config.schema import RunConfig
from ofacore.config.sizes import ModelSizeError, resolve
from ofacore.ground.errors import UserError
from ofacore.plan.checking import check, place_of
from ofacore.plan.planned_run import PlannedRun, plan_each, planned_of
from ofacore.plugin import Registry
from ofacore.protocols import RowError
from ofacore.setup.backbone_settings import with_backbone_settings
from ofacore.setup.layout_check import (
    aggregator_problems,
    criterion_problems,
    layout_problems,
    teacher_problems,
)
from ofacore.sources import Source, open_source


def read_checked(
    sources: Sequence[str | ConfigText],
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
    folder: Path | None = None,
    joins: bool = False,
) -> PlannedRun:
    """A configuration that can be run, the plugins it is for, and its plans.

    Args:
        sources: Files, or words that stand for built-in ones.
        overrides: ``key=value``.
        resume: The run goes on, with the plugins that it began with.
        folder: Run folder; default: what the configuration says.
        joins: It may be meant for a model that it does not know: what it keeps of that is not looked at.

    Raises:
        ConfigError: With every problem: of the files, of the schema, and of everything that the keys name.
    """
    try:
        loaded = read(sources, overrides)
    except ConfigError as error:
        raise ConfigError([*error.problems, *_of_the_rest(error)]) from None
    if loaded.config.keep and not (joins and loaded.config.tasks):
        hint = "name it, as in ofa train own.yaml --from RUN"
        place = place_of("keep", loaded.places)
        raise ConfigError([Problem("keep", "there is no model to start from", place, hint)])
    registry = _registry(loaded.config, resume, folder)
    return checked_run(loaded.config, registry, loaded.places)


def _registry(config: RunConfig, resume: bool, folder: Path | None) -> Registry:
    if not resume:
        return Registry.discover(config.plugins.prefer)
    from ofacore.setup.stored_description import (
        registry_of_run,
    )  # loads torch, which a check alone does without

    return registry_of_run(config, folder or Path(config.out.format(name=config.name)), resume)


def checked_run(
    config: RunConfig, registry: Registry, places: Mapping[str, Place] | None = None
) -> PlannedRun:
    """A run with its plans, if nothing is wrong with it; data are opened, but no row is encoded.

    Args:
        config: A configuration that fits the schema.
        registry: What is installed.
        places: Where values were written, for the report.

    Raises:
        ConfigError: With everything that is wrong, all at once.
    """
    try:
        config = with_backbone_settings(config, registry)
    except UserError as error:
        raise ConfigError([Problem("model.backbone", str(error))]) from error
    data = _Columns(config)
    attempts = plan_each(config, registry)
    found = check(config, registry, places=places, columns=data, attempts=attempts)
    found += [*data.problems, *_sizes(config), *layout_problems(config, registry=registry)]
    found += teacher_problems(config)
    run = PlannedRun(config, registry, planned_of(attempts))
    if not found:
        found = [*aggregator_problems(config, registry), *criterion_problems(run)]
    if found:
        raise ConfigError(found)
    return run


class _Columns:
    """Columns of a task's data, by task and split; notes what cannot be opened."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self.problems: list[Problem] = []

    def __call__(self, task: str, split: str) -> tuple[str, ...]:
        data = self._config.tasks[task].data
        if data.format == "hf":
            return ()
        path = f"tasks.{task}.data.{split}"
        try:
            source = open_source(getattr(data, split), data, split)
        except UserError as error:
            self.problems.append(Problem(path, str(error)))
            return ()
        columns = source.columns
        if not len(source):
            self.problems.append(Problem(path, "there are no rows"))
        elif not columns:
            self._read_first(source, path)
        return columns

    def _read_first(self, source: Source, path: str) -> None:
        """Rows without any column: the first one says what it is instead."""
        try:
            source[0]
        except RowError as error:
            self.problems.append(Problem(path, str(error)))


def _sizes(config: RunConfig) -> list[Problem]:
    try:
        resolve(config.model)
    except ModelSizeError as error:
        return [Problem("", str(error))]
    return []


def _of_the_rest(error: ConfigError) -> list[Problem]:
    """Problems of the keys that do fit the schema, except where they hang on those that do not."""
    if error.salvaged is None:
        return []
    config = error.salvaged.config
    registry = Registry.discover(config.plugins.prefer)
    try:
        checked_run(config, registry, error.salvaged.places)
    except ConfigError as more:
        found = list(more.problems)
    else:
        return []
    # A file that cannot be read may hold what is missing here.
    unread = any(not known.path for known in error.problems)
    found = [problem for problem in found if not (unread and problem.path == "tasks")]
    return [problem for problem in found if not _hangs_on(problem, error.problems)]


def _hangs_on(problem: Problem, others: Iterable[Problem]) -> bool:
    return any(_related(problem.path, other.path) for other in others)


def _related(path: str, other: str) -> bool:
    return f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")
