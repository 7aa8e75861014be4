"""Whether runs can become one model: the same sizes, options, artifacts and plans. Every difference is told at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from ofa_merge.opened import OpenedRun
from ofacore.config.sizes import with_preset_options, with_sizes
from ofacore.ground.errors import UserError
from ofacore.model.backbone.abilities import sizes_of
from ofacore.plan import TaskPlan

_OF_TRAINING = {
    "lora",
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "encoder_drop_path",
    "decoder_drop_path",
    "experts_balance",
    "checkpoint_activations",
}
"""Keys of the model section that say how a model was trained, not what it computes."""
_IN_COMPONENTS = {
    "preset",
    "adapters",
    "heads_options",
    "preprocessors",
    "options",
    "positions_options",
}
"""Keys that stand in others: sizes, and the options of components."""
_KINDS = ("adapter", "head", "preprocessor", "backbone", "positions", "router")
_SHOWN = 8


def check_alike(runs: Sequence[OpenedRun]) -> None:
    """Compare every pair of runs, without reading weights.

    Raises:
        UserError: Some differ in what a merged model has once; names the runs and what each has.
    """
    problems: list[str] = []
    for one, other in combinations(runs, 2):
        pairs = [*_sections(one, other), *_options(one, other), *_artifacts(one, other)]
        pairs = pairs or [*_blocks(one, other), *_tasks(one, other), *_shapes(one, other)]
        told = [
            f"{what}: '{one.name}' has {first}, '{other.name}' has {second}"
            for what, first, second in pairs
        ]
        problems += told[:_SHOWN]
        if len(told) > _SHOWN:
            problems.append(f"and {len(told) - _SHOWN} more")
    if problems:
        listed = "\n  ".join(problems)
        remedy = "Train them from one model, `Generalist.from_pretrained(...)`, so that they agree"
        raise UserError(f"these runs cannot be merged:\n  {listed}\n{remedy}.")


_Differences = Iterator[tuple[str, Any, Any]]
"""What differs, what the first run has, what the second has."""


def _sections(one: OpenedRun, other: OpenedRun) -> _Differences:
    first, second = _model(one), _model(other)
    for key, value in first.items():
        if value != second[key]:
            yield f"model.{key}", value, second[key]


def _model(run: OpenedRun) -> dict[str, Any]:
    config, registry = run.assembly.config.model, run.assembly.registry
    full = with_sizes(with_preset_options(config), sizes_of(config, registry))
    left_out = _OF_TRAINING | _IN_COMPONENTS
    return {key: value for key, value in full.model_dump().items() if key not in left_out}


def _options(one: OpenedRun, other: OpenedRun) -> _Differences:
    first, second = _components(one), _components(other)
    for key in first.keys() & second.keys():
        if first[key] != second[key]:
            yield f"options of {key}", first[key], second[key]


def _components(run: OpenedRun) -> dict[str, Any]:
    found = run.assembly.state()["components"]
    return {
        key: each.get("options", {})
        for key, each in found.items()
        if key.partition("/")[0] in _KINDS
    }


def _artifacts(one: OpenedRun, other: OpenedRun) -> _Differences:
    first, second = one.assembly.artifacts, other.assembly.artifacts
    for name in first.keys() & second.keys():
        if first[name].digest != second[name].digest:
            yield f"what '{name}' has fitted", first[name].digest, second[name].digest


def _block_sizes(run: OpenedRun) -> dict[str, int]:
    return {block.name: block.size for block in run.assembly.vocabulary.blocks}


def _blocks(one: OpenedRun, other: OpenedRun) -> _Differences:
    first, second = _block_sizes(one), _block_sizes(other)
    for name in first.keys() & second.keys():
        if first[name] != second[name]:
            yield f"tokens of '{name}'", first[name], second[name]


def _tasks(one: OpenedRun, other: OpenedRun) -> _Differences:
    first, second = one.assembly.plans, other.assembly.plans
    for name in first.keys() & second.keys():
        if _asked(first[name]) != _asked(second[name]):
            yield f"task '{name}'", _told(first[name]), _told(second[name])


def _asked(plan: TaskPlan) -> TaskPlan:
    """A plan without what says how it was trained."""
    sets: Mapping[str, Any] = {
        name: tuple(values) if isinstance(values, list) else values
        for name, values in plan.closed_sets.items()
    }
    return replace(plan, closed_sets=sets, weight=1.0, loss_weight=1.0, drop_prompt=0.0)


def _told(plan: TaskPlan) -> str:
    sets = {name: len(values) for name, values in plan.closed_sets.items()}
    members = f" with {sets} members" if sets else ""
    return f"'{plan.templates[0].text}'{members}"


def _shapes(one: OpenedRun, other: OpenedRun) -> _Differences:
    for name in one.weights:
        if name in other.weights and one.weights.shape(name) != other.weights.shape(name):
            yield f"shape of {name}", one.weights.shape(name), other.weights.shape(name)
