"""A generalist in memory with more tasks, or with some of them alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ofacore.config.schema import RunConfig
from ofacore.decoding.checking import check_generation
from ofacore.evaluation.metric_check import try_metrics
from ofacore.generalist.facade import Generalist, build_model
from ofacore.ground.errors import UserError
from ofacore.plan.planned_run import PlannedRun
from ofacore.plugin import suggest
from ofacore.setup.assembly import Assembly
from ofacore.setup.datasets import TaskRows, open_tasks
from ofacore.setup.extension import extended, reduced
from ofacore.setup.joining import joined_config, kept_tasks
from ofacore.setup.run_check import checked_run

if TYPE_CHECKING:
    from ofacore.model.universal import UniversalModel


def extend(generalist: Generalist, given: RunConfig) -> Generalist:
    """See `Generalist.extend`; ``given`` has the new tasks, their options and ``keep``."""
    before = generalist.assembly
    kept = kept_tasks(before, given)
    config = joined_config(before, given, kept)
    new = [name for name in given.tasks if name not in before.plans]
    if not new:
        raise UserError("no task joins the model; give Task(name, instruction, train=rows)")
    data = open_tasks(joining(before, config, new))
    assembly = extended(before, config, new, data)
    try_metrics(assembly, data)
    check_generation(assembly, data)
    model = build_model(assembly).to(generalist.model.dtype)
    model.load_portable(generalist.model.held_weights(), strict=False)
    found = Generalist(assembly, model.eval(), data)
    found.source, assembly.origin = generalist.source, generalist.assembly.origin
    known: dict[str, TaskRows | None] = {**generalist.aside, **generalist.data}
    for name in before.plans:
        rows = known.get(name)
        if name not in kept:
            found.aside[name] = rows
        elif rows is not None:
            found.data[name] = rows
    return found


def joining(assembly: Assembly, config: RunConfig, names: Sequence[str]) -> PlannedRun:
    """Some of the tasks of a whole configuration, checked as a run of their own.

    Raises:
        ConfigError: With everything that is wrong with them.
    """
    own = {name: task for name, task in config.tasks.items() if name in names}
    return checked_run(config.model_copy(update={"tasks": own}), assembly.registry)


def only(generalist: Generalist, names: Sequence[str]) -> Generalist:
    """See `Generalist.only`."""
    known = generalist.tasks
    for name in names:
        if name not in known:
            hint = suggest(name, known) or f"there are {', '.join(known)}"
            raise UserError(f"no task '{name}' in this model; {hint}")
    if not names:
        raise UserError(f"no task is named; there are {', '.join(known)}")
    assembly = reduced(generalist.assembly, names)
    model: UniversalModel = build_model(assembly).to(generalist.model.dtype)
    state = generalist.model.held_weights()
    own = {name: state[name] for name in model.portable_names()}
    model.load_portable(own)
    data = {name: rows for name, rows in generalist.data.items() if name in names}
    found = Generalist(assembly, model.eval(), data)
    found.aside = {name: rows for name, rows in generalist.aside.items() if name in names}
    return found
