"""The one table of options: what a configuration sets for components, in the older spellings too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ofacore.config.preset_options import with_preset_options
from ofacore.config.schema import RunConfig

OptionTable = dict[tuple[str, str], dict[str, Any]]
"""(kind, name) of a component -> options that are set for it."""
LOOP_KINDS = frozenset({"schedule", "tracker"})
"""Kinds of components that belong to the training loop, not to the model: a resumed run may set them anew."""
OLDER = {
    "adapters": "adapter",
    "heads_options": "head",
    "preprocessors": "preprocessor",
    "options": "backbone",
}
"""Key of ``model`` -> kind: older spellings of what stands in the table."""


@dataclass(frozen=True)
class GivenOptions:
    """Options of one component, as one place of the configuration gives them."""

    path: str
    """Key path of the mapping."""
    kind: str
    """Empty where the key is not of the form ``kind/name``."""
    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Contradiction:
    """One option with two values: in the table, and in an older spelling."""

    path: str
    value: Any
    older_path: str
    older_value: Any


def given_options(config: RunConfig) -> Iterator[GivenOptions]:
    """Every place that gives options to a component by its name; older spellings before the table."""
    model = config.model
    for key, kind in OLDER.items():
        for name, options in getattr(model, key).items() if key != "options" else ():
            yield GivenOptions(f"model.{key}.{name}", kind, name, options)
    if model.options:
        yield GivenOptions("model.options", "backbone", model.backbone, model.options)
    if model.positions_options:
        scheme = with_preset_options(model).positions
        yield GivenOptions("model.positions_options", "positions", scheme, model.positions_options)
    yield from table_entries(config.options)


def table_entries(table: Mapping[str, Mapping[str, Any]]) -> Iterator[GivenOptions]:
    """The entries of a table ``kind/name`` -> options."""
    for key, options in table.items():
        kind, slash, name = key.partition("/")
        if not slash:
            kind, name = "", key
        yield GivenOptions(f"options.{key}", kind, name, options)


def component_options(config: RunConfig) -> OptionTable:
    """(kind, name) -> the options that a configuration sets, for `Registry.pinned`."""
    found: OptionTable = {}
    for given in given_options(config):
        if given.kind:
            found.setdefault((given.kind, given.name), {}).update(given.options)
    return found


def by_key(table: OptionTable) -> dict[str, dict[str, Any]]:
    """As a configuration has it: ``kind/name`` -> options."""
    return {f"{kind}/{name}": dict(options) for (kind, name), options in table.items()}


def of_model(config: RunConfig) -> OptionTable:
    """As `component_options`, without what belongs to the training loop."""
    return {
        key: options
        for key, options in component_options(config).items()
        if key[0] not in LOOP_KINDS
    }


def of_loop(config: RunConfig) -> OptionTable:
    """As `component_options`, of schedules and trackers alone."""
    return {
        key: options for key, options in component_options(config).items() if key[0] in LOOP_KINDS
    }


def contradictions(config: RunConfig) -> Iterator[Contradiction]:
    """Options that table and older spelling set to different values."""
    older: dict[tuple[str, str], GivenOptions] = {}
    for given in given_options(config):
        if not given.path.startswith("options."):
            older[given.kind, given.name] = given
            continue
        before = older.get((given.kind, given.name), given)
        for option in [option for option in given.options if option in before.options]:
            value, other = given.options[option], before.options[option]
            if value != other:
                yield Contradiction(
                    f"{given.path}.{option}", value, f"{before.path}.{option}", other
                )


def in_the_table(values: dict[str, Any], config: RunConfig) -> dict[str, Any]:
    """A configuration as plain values, with all options of components in the table.

    Args:
        values: Of the configuration; left unchanged.
        config: The same, checked.
    """
    table = by_key(component_options(config))
    model = {key: value for key, value in values.get("model", {}).items() if key not in OLDER}
    found = {**values, "model": model} if "model" in values else dict(values)
    return {**found, "options": table} if table else found
