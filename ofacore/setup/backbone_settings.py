"""What the backbone says about a configuration: sizes and habits of the model that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ofacore.config.component_options import component_options
from ofacore.config.model_section import ModelConfig
from ofacore.config.schema import RunConfig
from ofacore.plugin import Registry
from ofacore.plugin.blame import Blame, who


def with_backbone_settings(config: RunConfig, registry: Registry) -> RunConfig:
    """The configuration, where it is silent, as its backbone wants it; see `Component.settings`.

    Raises:
        UserError: The options of the backbone mean no model.
    """
    name = config.model.backbone
    if name not in registry.names("backbone"):
        return config
    component = registry.component("backbone", name)
    if not component.settings:
        return config
    given = component_options(config)
    options = {**component.options, **given.get(("backbone", name), {})}
    with Blame(who(registry, "backbone", name), "its settings"):
        wanted = registry.resolve(component.settings)(options)
    set_by_user = config.model.model_dump(exclude_unset=True)
    model = ModelConfig.model_validate({**wanted.get("model", {}), **set_by_user})
    table = _merged(config, wanted.get("options", {}))
    return config.model_copy(update={"model": model, "options": table})


def _merged(config: RunConfig, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The table of options with those that are wanted and that no place of the configuration sets."""
    given = component_options(config)
    table = dict(config.options)
    for key, options in wanted.items():
        kind, _, name = key.partition("/")
        known = given.get((kind, name), {})
        new = {option: value for option, value in options.items() if option not in known}
        if new:
            table[key] = {**new, **table.get(key, {})}
    return table
