"""The vocabulary of an imported model: preprocessors with what another project left, every token in its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ofa_foreign.formats.tokens import Placement, place_tokens
from ofa_foreign.importing.tasks import Tasks
from ofacore.config.component_options import component_options
from ofacore.config.schema import RunConfig
from ofacore.config.task_section import TaskConfig
from ofacore.contract.foreign import ForeignTokens
from ofacore.ground.artifacts import Artifact
from ofacore.plan import plan_task
from ofacore.plan.neighbours import with_neighbours
from ofacore.plan.planned_run import PlannedRun
from ofacore.plugin import PluginError, Registry
from ofacore.protocols import Preprocessor
from ofacore.setup.assembly import Assembly


def assemble(
    config: RunConfig,
    registry: Registry,
    names: Sequence[str],
    core: Sequence[tuple[str, ...]],
    folder: Path,
) -> tuple[Assembly, Placement]:
    """Preprocessors with the artifacts that another project left, and every token's place."""
    registry = registry.pinned(component_options(config))
    reserved = {known[0] for known in core if known}
    free = ["" if name in reserved else name for name in names]
    plans = PlannedRun.of(config, registry).plans
    used = with_neighbours(
        (slot.preprocessor for plan in plans.values() for slot in plan.slots()), registry
    )
    artifacts: dict[str, Artifact] = {}
    blocks: dict[str, Sequence[tuple[str, ...]]] = {}
    for name in [*used, *(other for other in registry.names("preprocessor") if other not in used)]:
        built = _preprocessor(registry, name, {}, name in used)
        if built is None:
            continue
        found, artifact = _imported(built, folder, free, name in used)
        blocks |= {block: tokens for block, tokens in found.items() if block not in blocks}
        if found:
            claimed = {name for tokens in found.values() for known in tokens for name in known}
            free = ["" if other in claimed else other for other in free]
        if artifact is not None and (name in used or found):
            artifacts[name] = artifact
    placement = place_tokens(names, blocks, core)
    vocabulary = [[block.name, block.size] for block in placement.vocabulary.blocks]
    state = {"config": config.model_dump(exclude_unset=True), "vocabulary": vocabulary}
    return Assembly.restore(state, artifacts, registry), placement


def without_files(
    tasks: Tasks, options: Mapping[str, Any], registry: Registry, folder: Path, names: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Tasks whose preprocessors find what they need, and why the others do not; all where none does.

    The preprocessor of plain text is left to `assemble`: without it nothing can be asked.
    """
    plain = registry.plain_text_slot().preprocessor
    problems = {plain: ""}
    found: dict[str, dict[str, Any]] = {}
    left_out = []
    for task, keys in tasks.items():
        plan = plan_task(task, TaskConfig(instruction=keys["instruction"]), registry)
        needed = sorted({slot.preprocessor for slot in plan.slots()})
        for name in needed:
            if name not in problems:
                problems[name] = _problem(registry, name, options.get(name, {}), folder, names)
        problem = next((problems[name] for name in needed if problems[name]), "")
        if problem:
            left_out.append(f"{task}: {problem}")
        else:
            found[task] = dict(keys)
    return (found, left_out) if found else ({task: dict(keys) for task, keys in tasks.items()}, [])


def _problem(
    registry: Registry, name: str, options: Mapping[str, Any], folder: Path, names: Sequence[str]
) -> str:
    """Why a preprocessor cannot be made of what the other project left; empty: it can."""
    try:
        built = _preprocessor(registry, name, options, True)
        if built is not None:
            _imported(built, folder, names, True)
    except PluginError as error:
        return str(error).splitlines()[0]
    return ""


def _preprocessor(
    registry: Registry, name: str, options: Mapping[str, Any], needed: bool
) -> Preprocessor | None:
    try:
        built: Preprocessor = registry.make("preprocessor", name, options)
    except PluginError:
        if needed:
            raise
        return None
    return built


def _imported(
    built: Preprocessor, folder: Path, names: Sequence[str], needed: bool
) -> tuple[dict[str, Sequence[tuple[str, ...]]], Artifact | None]:
    """Blocks with the foreign names of their tokens, and the artifact.

    A preprocessor that no task uses joins only if the dictionary has every one of its tokens.
    """
    if not isinstance(built, ForeignTokens):
        return {}, built.fit(iter(()), np.random.default_rng(0)) if needed else None
    if not needed and not any(names):
        return {}, None
    try:
        artifact = built.import_files(folder, names)
    except PluginError:
        if needed:
            raise
        return {}, None
    known = set(names)
    found = dict(built.foreign_names(artifact))
    if not needed:
        found = {block: tokens for block, tokens in found.items() if _are_known(tokens, known)}
    return found, artifact


def _are_known(tokens: Sequence[tuple[str, ...]], names: set[str]) -> bool:
    """Whether some tokens have foreign names, and each that has any has one of ``names``."""
    named = [token for token in tokens if token]
    return bool(named) and all(names & set(token) for token in named)
