"""Public names for plugin authors: manifests, the contract version, and the registry that finds them."""

from typing import TYPE_CHECKING, Any

from ofacore.ground.errors import UserError
from ofacore.ground.json_files import JsonError, read_object
from ofacore.plugin.deprecation import deprecated
from ofacore.plugin.manifest import (
    CONTRACT,
    Attribute,
    CommandManifest,
    Component,
    ComponentManifest,
    Kind,
    LossUse,
    Manifest,
    MetricUse,
    ModalityManifest,
    Option,
    SlotType,
    TaskManifest,
    TaskPreset,
)
from ofacore.plugin.plugin_errors import (
    ConflictError,
    LoadError,
    PluginError,
    UnknownNameError,
    suggest,
)
from ofacore.plugin.plugin_rows import PluginRow
from ofacore.plugin.registry import Registry

if TYPE_CHECKING:
    from ofacore.plugin.entering import entered_value
    from ofacore.plugin.hooks import TrainingRun, hookimpl

__all__ = [
    "CONTRACT",
    "Attribute",
    "CommandManifest",
    "Component",
    "ComponentManifest",
    "ConflictError",
    "JsonError",
    "Kind",
    "LoadError",
    "LossUse",
    "Manifest",
    "MetricUse",
    "ModalityManifest",
    "Option",
    "PluginError",
    "PluginRow",
    "Registry",
    "SlotType",
    "TaskManifest",
    "TaskPreset",
    "TrainingRun",
    "UnknownNameError",
    "UserError",
    "deprecated",
    "entered_value",
    "hookimpl",
    "read_object",
    "suggest",
]


def __getattr__(name: str) -> Any:
    if name == "entered_value":
        from ofacore.plugin.entering import entered_value

        return entered_value
    if name not in ("TrainingRun", "hookimpl"):
        raise AttributeError(f"module 'ofacore.plugin' has no attribute '{name}'")
    from ofacore.plugin import hooks

    return getattr(hooks, name)
