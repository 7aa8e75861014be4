"""An assembly that grows by tasks, or shrinks to some of them; what it keeps stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ofacore.config.component_options import component_options
from ofacore.config.schema import RunConfig
from ofacore.ground.vocabulary import CORE, Vocabulary
from ofacore.plan import TaskPlan
from ofacore.plan.configured import plan_task
from ofacore.plan.neighbours import with_neighbours
from ofacore.plan.planned_run import PlannedRun
from ofacore.plan.shared import with_shared_options
from ofacore.plugin import Registry
from ofacore.protocols import Head, seen_as
from ofacore.setup.assembly import Assembly
from ofacore.setup.closed_sets import settled, with_closed_sets
from ofacore.setup.data_facts import with_facts
from ofacore.setup.datasets import TaskRows
from ofacore.setup.model_needs import model_needs
from ofacore.setup.strangers import tell_strangers


def extended(
    assembly: Assembly, config: RunConfig, new: Sequence[str], data: Mapping[str, TaskRows]
) -> Assembly:
    """The assembly with tasks that join it: blocks and artifacts are appended, those that are there stay.

    Args:
        assembly: What the model has; it is left as it is.
        config: Of the whole model, with the tasks that join.
        new: Names of these.
        data: Their rows, that new preprocessors are fitted on.

    Raises:
        UserError: A plan, a preprocessor or the data cannot be used.
    """
    registry = assembly.registry.pinned(component_options(config))
    joining = PlannedRun.of(config.model_copy(update={"tasks": _only(config, new)}), registry)
    plans = {
        name: with_closed_sets(plan, data[name], registry) for name, plan in joining.plans.items()
    }
    together = {**_kept_plans(assembly, config, registry), **plans}
    registry = with_shared_options(registry, together, component_options(config))
    before = assembly.vocabulary
    founding = len(before.founders)
    grown = Assembly(
        config,
        registry,
        together,
        dict(assembly.artifacts),
        replace(before, founding=founding),
    )
    grown.fit_further(plans, data)
    if len(grown.vocabulary.blocks) == founding:
        grown.vocabulary = before
    for name, plan in joining.plans.items():
        plan = settled(plans[name], plan, grown.preprocessors)
        together[name] = with_facts(plan, data[name], registry)
        tell_strangers(together[name], data[name], registry, grown.preprocessors)
    grown.check_storable()
    return grown


def _kept_plans(assembly: Assembly, config: RunConfig, registry: Registry) -> dict[str, TaskPlan]:
    """The plans that the model has; of tasks with other data now, with the columns of these."""
    found = {}
    for name, plan in assembly.plans.items():
        task = config.tasks[name]
        if task is not assembly.config.tasks[name]:
            again = plan_task(name, task, registry)
            plan = replace(
                again,
                closed_sets=plan.closed_sets,
                class_weights=plan.class_weights,
                turns=plan.turns,
            )
        found[name] = plan
    return found


def reduced(assembly: Assembly, names: Sequence[str]) -> Assembly:
    """The assembly of some of its tasks: without blocks, artifacts and options that only the others need."""
    plans = {name: plan for name, plan in assembly.plans.items() if name in names}
    train = assembly.config.train.model_copy(update={"teachers": ()})
    kept = {"tasks": _only(assembly.config, names), "train": train}
    config = assembly.config.model_copy(update=kept)
    used = _preprocessors(assembly, plans)
    dropped = set(_preprocessors(assembly, assembly.plans)) - set(used)
    artifacts = {name: each for name, each in assembly.artifacts.items() if name not in dropped}
    vocabulary = _vocabulary(assembly, plans, used)
    small = Assembly(config, assembly.registry, plans, artifacts, vocabulary)
    for name in used:
        small.preprocessor(name)
    return small


def _only(config: RunConfig, names: Sequence[str]) -> dict[str, object]:
    return {name: task for name, task in config.tasks.items() if name in names}


def _preprocessors(assembly: Assembly, plans: Mapping[str, object]) -> list[str]:
    slots = [slot for name in plans for slot in assembly.plans[name].slots()]
    return with_neighbours(dict.fromkeys(slot.preprocessor for slot in slots), assembly.registry)


def _vocabulary(assembly: Assembly, plans: Mapping[str, object], used: Sequence[str]) -> Vocabulary:
    """The blocks that tasks and their heads need, in the order in which they joined."""
    before, registry = assembly.vocabulary, assembly.registry
    needed = {CORE.name} | {block.name for name in used for block in assembly.blocks_of(name)}
    needs = model_needs([assembly.plans[name] for name in plans], assembly)
    for head in needs.heads:
        if seen_as(Head, registry.load("head", head.name)).scores_founders(head.options):
            needed |= {block.name for block in before.founders}
    founders = [block for block in before.founders if block.name in needed]
    blocks = [block for block in before.blocks if block.name in needed]
    founding = len(founders) if len(founders) < len(blocks) else None
    return Vocabulary(tuple(blocks), founding)
