"""``ofa plugins list | show``."""

from __future__ import annotations

from typing import Annotated

import typer

from ofa_cli.lazy import command_app
from ofa_cli.output import print_json, print_table
from ofacore.plugin import Component, Manifest, ModalityManifest, PluginRow, Registry, SlotType, TaskManifest

COLUMNS = ("name", "distribution", "version", "contract", "status", "problem", "slots")

app = command_app()


@app.callback()
def group() -> None:
    """Plugins that are installed."""


@app.command("list")
def list_plugins(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Every plugin, usable or not, with the reason."""
    rows = [{key: getattr(row, key) for key in COLUMNS} for row in Registry.discover().rows]
    if json:
        print_json(rows)
        return
    shown = ("name", "distribution", "version", "contract", "status", "slots")
    print_table(shown, [[*(row[key] for key in shown[:-1]), ", ".join(row["slots"])] for row in rows])
    for row in rows:
        if row["problem"]:
            typer.echo(f"\n{row['name']} ({row['distribution']}): {row['problem']}")


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of a plugin or of its distribution.")]) -> None:
    """Everything that a plugin brings: slot types with their attributes, components with their options, presets."""
    for row, manifest in Registry.discover().find(name):
        _show_row(row)
        if manifest is not None:
            _show_manifest(manifest)
        typer.echo()


def _show_row(row: PluginRow) -> None:
    contract = f", contract {row.contract}" if row.contract else ""
    typer.echo(f"{row.name}: {row.kind} plugin of {row.distribution} {row.version}{contract}, {row.status}")
    if row.problem:
        typer.echo(f"  {row.problem}")


def _show_manifest(manifest: Manifest) -> None:
    if manifest.doc:
        typer.echo(f"  {manifest.doc}")
    for slot in manifest.slots if isinstance(manifest, ModalityManifest) else ():
        _show_slot(slot)
    for preset in manifest.presets if isinstance(manifest, TaskManifest) else ():
        typer.echo(f"\n  task {preset.name}  {preset.doc}")
        for entry in preset.instructions:
            typer.echo(f"    {entry if isinstance(entry, str) else entry[0]}")
    if manifest.components:
        typer.echo()
    for component in manifest.components:
        typer.echo(f"  {component.kind} {component.name}{_options(component)}  {component.doc}".rstrip())


def _show_slot(slot: SlotType) -> None:
    typer.echo(f"\n  slot {slot.name}  {slot.doc}\n    values: {slot.values}")
    for attribute in slot.attributes:
        default = "" if attribute.default is None else f", default {attribute.default}"
        sides = "" if len(attribute.sides) == 2 else f", {attribute.sides[0]} only"
        typer.echo(f"    {attribute.name} ({attribute.type}{default}{sides})  {attribute.doc}".rstrip())


def _options(component: Component) -> str:
    return f" ({', '.join(f'{key}={value}' for key, value in component.options.items())})" if component.options else ""
