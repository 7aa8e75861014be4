"""A run that starts from a model: what joins it, what goes on being trained, and what is left as it is."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ofacore.checkpoint import CheckpointError, load_state
from ofacore.checkpoint.checkpoint_errors import listed
from ofacore.config import ConfigError, Place, Problem, read
from ofacore.config.loading import ConfigText
from ofacore.config.schema import RunConfig
from ofacore.decoding.checking import check_generation
from ofacore.evaluation.metric_check import try_metrics
from ofacore.generalist.extending import joining
from ofacore.generalist.facade import Generalist
from ofacore.generalist.storing import StoredModel, built_from, checkpoint_of, read_model
from ofacore.ground.errors import UserError
from ofacore.model.weights import lora, prefix
from ofacore.plan.checking import place_of
from ofacore.plan.planned_run import PlannedRun
from ofacore.setup.assembly import Assembly
from ofacore.setup.datasets import TaskRows, open_available
from ofacore.setup.extension import extended
from ofacore.setup.joining import joined_config, kept_tasks
from ofacore.setup.model_needs import model_needs
from ofacore.setup.origins import preferring
from ofacore.setup.stored_description import described_model


@dataclass(frozen=True)
class Extension:
    """What a run that starts from a model adds to it."""

    model: StoredModel
    """Where it starts; never written to."""
    config: RunConfig
    """Of the whole model."""
    new: tuple[str, ...]
    kept: tuple[str, ...]
    """Old tasks that go on being trained."""

    @property
    def left(self) -> tuple[str, ...]:
        """Old tasks that are not trained, but stay and answer."""
        return tuple(name for name in self.model.assembly.plans if name not in self.kept)

    def config_with(self, available: Container[str]) -> RunConfig:
        """Of the whole model, of the new tasks only with those whose data are available."""
        lost = [name for name in self.new if name not in available]
        tasks = {name: each for name, each in self.config.tasks.items() if name not in lost}
        return self.config.model_copy(update={"tasks": tasks})

    def state_of(self, task: str) -> str:
        """``new``, ``kept`` or ``left``."""
        if task in self.model.assembly.plans:
            return "kept" if task in self.kept else "left"
        return "new"


def read_extension(
    sources: Sequence[str | ConfigText],
    overrides: Sequence[str],
    start: Path,
    folder: Path | None = None,
) -> tuple[PlannedRun, Extension]:
    """A configuration of what is new, checked against the model that it starts from; no weight is read.

    Args:
        sources: Files, or words that stand for built-in ones.
        overrides: ``key=value``.
        start: Run folder, checkpoint or saved model.
        folder: Run folder of the new run; default: what the configuration says.

    Returns:
        The run of the tasks that are trained, and what it adds to the model.

    Raises:
        ConfigError: With every problem; where it asks for another model, both sides are named.
        CheckpointError: The model cannot be read here.
        UserError: The new run would be written where it starts from.
    """
    loaded = read(sources, overrides)
    given, place = loaded.config, checkpoint_of(start)
    _check_apart(start, place, folder or Path(given.out.format(name=given.name)))
    described = described_model(place, load_state(place))
    prefer = {**described["config"].get("plugins", {}).get("prefer", {}), **given.plugins.prefer}
    model = read_model(start, preferring(described.get("components", {}), prefer))
    try:
        kept = kept_tasks(model.assembly, given)
        config = joined_config(model.assembly, given, kept)
        _check_rows(config, kept)
        new = tuple(name for name in given.tasks if name not in model.assembly.plans)
        run = joining(model.assembly, config, [*kept, *new])
    except ConfigError as error:
        raise ConfigError(_placed(error.problems, loaded.places)) from None
    return run, Extension(model, config, new, kept)


def begin(extension: Extension, run: PlannedRun) -> Generalist:
    """The model with what joins it, before any training.

    Raises:
        UserError: A plan, a preprocessor or the data cannot be used.
        CheckpointError: The stored weights do not fit.
    """
    run, data = open_available(run)
    before = extension.model.assembly
    config = extension.config_with(data)
    new = [name for name in extension.new if name in data]
    assembly = extended(before, config, new, data)
    try_metrics(assembly, data)
    check_generation(assembly, data)
    model, missing = built_from(extension.model, assembly)
    _check_new(extension.model.place, missing, before, assembly)
    generalist = Generalist(assembly, model.eval(), data)
    generalist.source = extension.model.place
    set_aside(generalist, data)
    return generalist


def set_aside(generalist: Generalist, trained: Mapping[str, TaskRows]) -> None:
    """Tasks without rows to train on stay in the model, and are not asked for rows."""
    generalist.aside = {name: None for name in generalist.tasks if name not in trained}


def _check_apart(start: Path, place: Path, folder: Path) -> None:
    own = folder.resolve()
    if own == start.resolve() or own == place.resolve() or own in place.resolve().parents:
        raise UserError(
            f"{folder}: the run starts from there, and what it starts from is never written to; "
            "name another folder with --out, or set out=FOLDER"
        )


def _check_rows(config: RunConfig, kept: Sequence[str]) -> None:
    """Kept tasks say where their rows are.

    Raises:
        ConfigError: A task's rows were Python objects, which a model does not keep.
    """
    problems = []
    for name in kept:
        task = config.tasks[name]
        if task.data.train is None and not task.preset:
            hint = f"set tasks.{name}.data.train, or do not keep it"
            problems.append(
                Problem("keep", f"the model does not say where the rows of '{name}' are", hint=hint)
            )
    if problems:
        raise ConfigError(problems)


def _placed(problems: Sequence[Problem], places: Mapping[str, Place]) -> list[Problem]:
    return [replace(each, place=place_of(each.path, places)) for each in problems]


def _check_new(place: Path, missing: Sequence[str], before: Assembly, after: Assembly) -> None:
    """What the checkpoint lacks are parts that joined.

    Raises:
        CheckpointError: It lacks parts of its own.
    """
    known = _names(before)
    joined = _names(after) - known | _marks(before.config, after.config)
    lacking = [name for name in missing if not _holds_one(name, joined)]
    if lacking:
        raise CheckpointError(place, f"lacks weights of its own tasks: {listed(lacking)}")


def _holds_one(name: str, parts: Iterable[str]) -> bool:
    return any(part in name for part in parts)


def _names(assembly: Assembly) -> set[str]:
    """Of everything that weights are named by: blocks, components, tasks."""
    needs = model_needs(assembly.plans.values(), assembly)
    parts = [*needs.adapters, *needs.heads, *needs.criteria]
    blocks = [block.name for block in assembly.vocabulary.blocks]
    return {*blocks, *needs.tasks, *(part.name for part in parts)}


def _marks(before: RunConfig, after: RunConfig) -> set[str]:
    """What names of low-rank updates and prefixes hold, where the model had none."""
    found = set()
    if before.model.lora != after.model.lora:
        found.add(lora.MARK)
    if before.model.prefix != after.model.prefix:
        found.add(prefix.MARK)
    return found
