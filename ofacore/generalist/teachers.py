"""Trained models as teachers of another one: read, cut to what they teach, and put into its vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ofacore.config.train_section import TeacherConfig
from ofacore.generalist.extending import only
from ofacore.generalist.storing import load
from ofacore.ground.excerpts import listing
from ofacore.plan import TaskPlan
from ofacore.plan.neighbours import with_neighbours
from ofacore.plugin import Registry, suggest
from ofacore.setup.assembly import Assembly
from ofacore.setup.model_needs import model_needs, own_criteria
from ofacore.training.step.teaching import Teacher, Teaching
from ofacore.training.training_errors import TeacherError

if TYPE_CHECKING:
    from ofacore.generalist.facade import Generalist
    from ofacore.model.universal import UniversalModel


def teaching_of(generalist: Generalist, dtype: torch.dtype) -> Teaching | None:
    """The configured teachers of what is trained, ready to compute in ``dtype``; None without any.

    Raises:
        TeacherError: One cannot teach what it shall; names it and why.
        CheckpointError: There is no model where one shall be.
    """
    assembly = generalist.assembly
    configs = assembly.config.train.teachers
    trained = generalist.trained or tuple(assembly.plans)
    taken = {task for config in configs for task in config.tasks}
    found: list[Teacher] = []
    for config in configs:
        free = [task for task in trained if task not in taken]
        found.append(_teacher(config, free, assembly, dtype))
        taken |= found[-1].tasks
    return Teaching(found) if found else None


def teachable(plan: TaskPlan, registry: Registry) -> bool:
    """Whether a teacher can take part in one of a task's losses."""
    losses = [loss.criterion for loss in plan.all_losses()]
    criteria = [registry.load("criterion", name) for name in (*own_criteria(plan), *losses)]
    return any(hasattr(criterion, "distillation") for criterion in criteria)


def _teacher(
    config: TeacherConfig, trained: Iterable[str], assembly: Assembly, dtype: torch.dtype
) -> Teacher:
    known = load(Path(config.model), None)
    both = [task for task in trained if task in known.tasks]
    fitting = [task for task in both if teachable(assembly.plans[task], assembly.registry)]
    tasks = config.tasks or tuple(fitting)
    for task in tasks:
        if task not in known.tasks:
            hint = suggest(task, known.tasks) or f"it knows {listing(known.tasks)}"
            raise TeacherError(config.model, f"knows no task '{task}'; {hint}")
    if not tasks:
        raise TeacherError(
            config.model, f"knows no task that it could teach here, but {listing(known.tasks)}"
        )
    own = only(known, tasks)
    for task in tasks:
        for problem in _problems(own.assembly, assembly, task):
            raise TeacherError(config.model, f"cannot teach task '{task}': {problem}")
    return Teacher(
        _in_vocabulary_of(assembly, own, dtype), config.model, frozenset(tasks), config.weight
    )


def _in_vocabulary_of(assembly: Assembly, own: Generalist, dtype: torch.dtype) -> UniversalModel:
    """The teacher with every token where the model that it teaches has it; those that it lacks are never asked for."""
    from ofacore.generalist.facade import build_model

    model = build_model(replace(own.assembly, vocabulary=assembly.vocabulary))
    model.load_portable(own.model.portable_state(), strict=False)
    return model.to(dtype).eval().requires_grad_(False)


def _problems(teacher: Assembly, assembly: Assembly, task: str) -> Iterator[str]:
    """Why a teacher would not see what the model sees, or not answer in its words."""
    own, theirs = assembly.run_settings(), teacher.run_settings()
    for setting in ("source_boundaries", "separator", "target_start", "restart"):
        before, now = getattr(theirs, setting), getattr(own, setting)
        if before != now:
            yield f"it lays out sequences by {setting}={before}, the model by {now}"
    yield from _unknown_values(teacher, assembly, task)
    wanted = model_needs([assembly.plans[task]], assembly)
    known = model_needs([teacher.plans[task]], teacher)
    for kind in ("adapters", "heads"):
        there = {part.name for part in getattr(known, kind)}
        for part in getattr(wanted, kind):
            if part.name not in there:
                yield f"it has no {kind.removesuffix('s')} '{part.name}' there"
    if not teachable(assembly.plans[task], assembly.registry):
        names = listing([part.name for part in wanted.criteria])
        yield f"no teacher can take part in criterion {names}, which has no `distillation`"


def _unknown_values(teacher: Assembly, assembly: Assembly, task: str) -> Iterator[str]:
    """Preprocessors that would have encoded its values otherwise."""
    slots = assembly.plans[task].slots()
    used = dict.fromkeys(slot.preprocessor for slot in slots)
    for name in with_neighbours(used, assembly.registry):
        fitted = [one.artifacts.get(name) for one in (teacher, assembly)]
        digests = {artifact.digest if artifact else "" for artifact in fitted}
        blocks = assembly.blocks_of(name)
        if len(digests) > 1 or any(block.name not in teacher.vocabulary for block in blocks):
            yield f"its preprocessor '{name}' was fitted on other values; {_REMEDY}"


_REMEDY = "let both start from one model, by ofa train --from"
