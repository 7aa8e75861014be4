"""A plugin as ``ofa plugins show`` prints it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from ofa_cli.output import echo
from ofacore.plugin import (
    CommandManifest,
    ComponentManifest,
    Manifest,
    ModalityManifest,
    PluginRow,
    Registry,
    SlotType,
    TaskManifest,
)
from ofacore.plugin.options import default_in_words, values_in_words
from ofacore.plugin.source import NotFoundError, locate


def as_data(row: PluginRow, manifest: Manifest | None, registry: Registry) -> dict[str, Any]:
    """Row, manifest, and where each component is, as JSON takes it."""
    target = registry.entry_point(row)
    components = manifest.components if manifest else ()
    return {
        **_plain(row),
        "target": target,
        "place": _place(target),
        "manifest": _plain(manifest),
        "components": [
            {
                "kind": c.kind,
                "name": c.name,
                "target": c.target,
                "place": _place(c.target),
                "loaded": _loaded(c.target),
            }
            for c in components
        ],
    }


def show_plugin(row: PluginRow, manifest: Manifest | None, registry: Registry) -> None:
    """Print everything that a plugin brings."""
    contract = f", contract {row.contract}" if row.contract else ""
    echo(
        f"{row.name}: {row.kind} plugin of {row.distribution} {row.version}{contract}, {row.status}"
    )
    if row.problem:
        echo(f"  {row.problem}")
    if target := registry.entry_point(row):
        echo(f"  {_where(target)}")
    if manifest is not None:
        _show_manifest(manifest)
    echo()


def _show_manifest(manifest: Manifest) -> None:
    if manifest.doc:
        echo(f"  {manifest.doc}")
    if isinstance(manifest, CommandManifest):
        echo(f"\n  ofa {manifest.name}\n    {_where(manifest.target)}")
    for kind in manifest.kinds if isinstance(manifest, ComponentManifest) else ():
        echo(f"\n  kind {kind.name}  {kind.doc}".rstrip())
        echo(f"    protocol {_where(kind.protocol)}")
    for slot in manifest.slots if isinstance(manifest, ModalityManifest) else ():
        _show_slot(slot)
    for preset in manifest.presets if isinstance(manifest, TaskManifest) else ():
        echo(f"\n  task {preset.name}  {preset.doc}")
        for entry in preset.instructions:
            echo(f"    {entry if isinstance(entry, str) else entry[0]}")
        for what, target in (("data", preset.data), ("baseline", preset.baseline)):
            if target:
                echo(f"    {what} {_where(target)}")
    for component in manifest.components:
        echo(f"\n  {component.kind} {component.name}  {component.doc}".rstrip())
        echo(f"    {_where(component.target)}")
        for name, option in component.declared.items():
            default = default_in_words(option)
            told = (
                f"{values_in_words(option)}, default {default}"
                if default
                else values_in_words(option)
            )
            echo(f"    {name} ({told})  {option.doc}".rstrip())


def _show_slot(slot: SlotType) -> None:
    echo(f"\n  slot {slot.name}  {slot.doc}\n    values: {slot.values}")
    for attribute in slot.attributes:
        default = "" if attribute.default is None else f", default {attribute.default}"
        sides = "" if len(attribute.sides) == 2 else f", {attribute.sides[0]} only"
        echo(f"    {attribute.name} ({attribute.type}{default}{sides})  {attribute.doc}".rstrip())
    for what, target in (("sample", slot.sample), ("row transform", slot.row_transform)):
        if target:
            echo(f"    {what} {_where(str(target))}")


def _where(target: str) -> str:
    return f"{target}  {_place(target)}  {'loaded' if _loaded(target) else 'not loaded'}"


def _place(target: str) -> str:
    """``file:line`` of an object, found without importing it."""
    try:
        return str(locate(target))
    except NotFoundError as error:
        return f"missing: {error}"
    except (SyntaxError, OSError, UnicodeDecodeError) as error:
        return f"unreadable: {error}"


def _loaded(target: str) -> bool:
    return target.partition(":")[0] in sys.modules


def _plain(value: Any) -> Any:
    """Dataclasses as mappings, functions by name."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if callable(value):
        return f"{value.__module__}:{value.__qualname__}"
    return value if isinstance(value, str | int | float | bool | None) else str(value)
