"""A configuration as text: YAML with all defaults, and the schema."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.representer import BaseRepresenter

from ofacore.config.documents import RESOLVERS
from ofacore.config.loading import INCLUDE
from ofacore.config.schema import RunConfig

_BREAKS = frozenset("\r\x85\u2028\u2029\ufeff")


def show(config: RunConfig, *, defaults: bool = True) -> str:
    """The configuration as YAML that `ofacore.config.load` reads back.

    Args:
        defaults: With every default filled in; False: only what was set, which keeps "unset" apart from "set to the
            default" (a model preset fills in what is unset). Rows given as Python objects are shown by their type.
    """
    values = config.model_dump(
        mode="json", exclude_unset=not defaults, fallback=lambda value: f"<{type(value).__name__}>"
    )
    if config.train.epochs is not None:
        values["train"].pop("steps", None)  # one of the two says how long the run is
    return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def json_schema() -> dict[str, Any]:
    """The schema of configuration files as JSON Schema, for editors."""
    schema = RunConfig.model_json_schema()
    files = {
        "type": "array",
        "items": {"type": "string"},
        "description": "Files that this one is laid over.",
    }
    properties = {INCLUDE: files, **schema["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "properties": properties,
    }


def _text(dumper: BaseRepresenter, value: str) -> yaml.Node:
    """Text with line breaks other than ``\\n``, which only double quotes keep, is written with escapes."""
    style = '"' if _BREAKS & set(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


class _Dumper(yaml.SafeDumper):
    """Writes shared values twice rather than by anchors; quotes text that either version of YAML reads otherwise."""

    yaml_representers = {**yaml.SafeDumper.yaml_representers, str: _text}
    yaml_implicit_resolvers = {
        first: RESOLVERS.get(first, []) + yaml.SafeDumper.yaml_implicit_resolvers.get(first, [])
        for first in {*RESOLVERS, *yaml.SafeDumper.yaml_implicit_resolvers}
    }

    def ignore_aliases(self, data: Any) -> bool:
        return True
