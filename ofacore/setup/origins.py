"""What a model remembers of the components that it was made with: whose they were, and their default options."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any

from ofacore.config.model_section import ModelConfig
from ofacore.config.preset_options import with_preset_options
from ofacore.config.schema import RunConfig
from ofacore.plan import TaskPlan
from ofacore.plan.neighbours import with_neighbours
from ofacore.plan.resolved_options import components_of
from ofacore.plugin import Component, Registry, UnknownNameError
from ofacore.plugin.first_party import COMPONENT_DISTRIBUTIONS, CORE_DISTRIBUTION

_SECTIONS = {"adapters": "adapter", "heads_options": "head", "preprocessors": "preprocessor"}
_CHOSEN = {"positions": "positions", "backbone": "backbone", "experts": "router"}
Stored = Mapping[str, Mapping[str, Any]]
"""``kind/name`` -> ``distribution``, ``version`` and, of components, ``options``."""


def with_todays_names(config: RunConfig, registry: Registry) -> RunConfig:
    """A configuration whose model section and table of options call components as they are called today."""
    changed: dict[str, Any] = {}
    for key, kind in _SECTIONS.items():
        given = getattr(config.model, key)
        renamed = {registry.today(kind, name): options for name, options in given.items()}
        if list(renamed) != list(given):
            changed[key] = renamed
    for key, kind in _CHOSEN.items():
        name = getattr(config.model, key)
        if (now := registry.today(kind, name)) != name:
            changed[key] = now
    found: dict[str, Any] = {}
    if changed:
        found["model"] = config.model.model_copy(update=changed)
    table = {_today(key, registry): options for key, options in config.options.items()}
    if list(table) != list(config.options):
        found["options"] = table
    return config.model_copy(update=found) if found else config


def _today(key: str, registry: Registry) -> str:
    """``kind/name`` of the table of options, as the component is called today."""
    kind, slash, name = key.partition("/")
    return f"{kind}/{registry.today(kind, name)}" if slash else key


def describe_origins(
    plans: Mapping[str, TaskPlan],
    model: ModelConfig,
    registry: Registry,
    named: Iterable[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Origins of everything that plans and model use, JSON-ready.

    Args:
        plans: By task.
        model: The model's section of the configuration.
        registry: With the options that the configuration sets.
        named: (kind, name) of further components that the configuration has options for.
    """
    found: dict[str, Any] = {}
    for kind, name in dict.fromkeys([*_used(plans, model, registry), *named]):
        if name not in registry.names(kind):
            continue
        row = registry.plugin_of(kind, name)
        found[f"{kind}/{name}"] = {"distribution": row.distribution, "version": row.version}
        if kind != "slot":
            found[f"{kind}/{name}"]["options"] = _plain_options(registry.component(kind, name))
    return found


def preferences(stored: Stored) -> dict[str, str]:
    """Names -> the distribution that a model was made with, as ``plugins.prefer`` has them."""
    found: dict[str, str] = {}
    for key, origin in stored.items():
        kind, _, name = key.partition("/")
        found[name if kind == "slot" else key] = str(origin["distribution"])
    return found


def preferring(stored: Stored, chosen: Mapping[str, str]) -> Registry:
    """Everything that is installed; of two that bring the same, what a model was made with.

    Args:
        stored: Of the model; distributions that are gone leave the choice to ``OFA_PREFER``.
        chosen: ``plugins.prefer`` of a configuration, which goes before both.
    """
    here = {name: owner for name, owner in preferences(stored).items() if _is_installed(owner)}
    return Registry.discover({**here, **chosen})


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except (metadata.PackageNotFoundError, ValueError):
        return False
    return True


def with_stored_options(registry: Registry, stored: Stored) -> Registry:
    """The registry whose components have the default options that a model was made with."""
    pins: dict[tuple[str, str], dict[str, Any]] = {}
    for key, origin in stored.items():
        kind, _, name = key.partition("/")
        name = registry.today(kind, name)
        if origin.get("options") and name in registry.names(kind):
            declared = registry.component(kind, name).options
            pins[kind, name] = {
                k: _as_declared(v, declared.get(k)) for k, v in origin["options"].items()
            }
    return registry.pinned(pins)


def changed_versions(stored: Stored, registry: Registry) -> list[str]:
    """``ofa-maps 0.1 (here is 0.2)`` for every distribution that a model was made with and that is another now."""
    found: dict[str, None] = {}
    for key, origin in stored.items():
        kind, _, name = key.partition("/")
        try:
            row = registry.plugin_of(kind, name)
        except UnknownNameError:
            here = _version(registry, str(origin["distribution"]))
            if here and here != origin["version"]:
                found[f"{origin['distribution']} {origin['version']} (here is {here})"] = None
            continue
        if _left_the_core(kind, name, origin) == (row.distribution, row.version):
            continue
        if (row.distribution, row.version) != (origin["distribution"], origin["version"]):
            now = (
                row.version
                if row.distribution == origin["distribution"]
                else f"{row.distribution} {row.version}"
            )
            found[f"{origin['distribution']} {origin['version']} (here is {now})"] = None
    return list(found)


def _left_the_core(kind: str, name: str, origin: Mapping[str, Any]) -> tuple[str, str] | None:
    """Distribution and version of what the core brought when the model was made; None of anything else."""
    if origin["distribution"] != CORE_DISTRIBUTION or (kind, name) not in COMPONENT_DISTRIBUTIONS:
        return None
    return COMPONENT_DISTRIBUTIONS[kind, name], origin["version"]


def _version(registry: Registry, distribution: str) -> str:
    return next((row.version for row in registry.rows if row.distribution == distribution), "")


def _used(
    plans: Mapping[str, TaskPlan], model: ModelConfig, registry: Registry
) -> Iterator[tuple[str, str]]:
    for plan in plans.values():
        yield from (("slot", slot.type) for slot in plan.slots())
        neighbours = with_neighbours([slot.preprocessor for slot in plan.slots()], registry)
        yield from (("preprocessor", name) for name in neighbours)
        yield from components_of(plan)
    yield "positions", with_preset_options(model).positions
    yield "backbone", model.backbone
    yield "router", model.experts


def _plain_options(component: Component) -> dict[str, Any]:
    """Options that JSON can hold; the others stay as the plugin declares them."""
    found: dict[str, Any] = {}
    for name, value in component.options.items():
        try:
            found[name] = json.loads(json.dumps(value))
        except (TypeError, ValueError):
            continue
    return found


def _as_declared(value: Any, declared: Any) -> Any:
    """A stored value in the type that the plugin gives: JSON has no tuples."""
    return tuple(value) if isinstance(declared, tuple) and isinstance(value, list) else value
