"""Public names for plugin authors: manifests, the contract version, and the registry that finds them."""

from ofacore.errors import UserError
from ofacore.plugin.errors import ConflictError, LoadError, PluginError, UnknownNameError, suggest
from ofacore.plugin.manifest import (
    CONTRACT,
    Attribute,
    Component,
    ComponentManifest,
    LossUse,
    Manifest,
    MetricUse,
    ModalityManifest,
    SlotType,
    TaskManifest,
    TaskPreset,
)
from ofacore.plugin.registry import Registry
from ofacore.plugin.rows import PluginRow

__all__ = [
    "CONTRACT",
    "Attribute",
    "Component",
    "ComponentManifest",
    "ConflictError",
    "LoadError",
    "LossUse",
    "Manifest",
    "MetricUse",
    "ModalityManifest",
    "PluginError",
    "PluginRow",
    "Registry",
    "SlotType",
    "TaskManifest",
    "TaskPreset",
    "UnknownNameError",
    "UserError",
    "suggest",
]
