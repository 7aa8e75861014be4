"""``ofa plugins list | show``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ofa_cli.lazy import command_group
from ofa_cli.output import echo, print_json, print_table
from ofacore.plugin import PluginRow, Registry

COLUMNS = ("name", "distribution", "version", "contract", "status", "problem", "slots")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = command_group()


@app.callback()
def group() -> None:
    """Plugins: what is installed, and what it brings."""


@app.command("list")
def list_plugins(json: Json = False) -> None:
    """Every plugin, usable or not, with the reason."""
    rows = [_by_column(row) for row in Registry.discover().rows]
    if json:
        print_json(rows)
        return
    words = ("name", "distribution", "version", "contract", "status")
    lines = []
    for row in rows:
        cells = [row[key] for key in words]
        lines.append([*cells, ", ".join(row["slots"])])
    print_table((*words, "slots"), lines)
    for row in rows:
        if row["problem"]:
            echo(f"\n{row['name']} ({row['distribution']}): {row['problem']}")


def _by_column(row: PluginRow) -> dict[str, Any]:
    return {key: getattr(row, key) for key in COLUMNS}


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a plugin or of its distribution.")],
    json: Json = False,
) -> None:
    """Everything that a plugin brings, and where it is: slot types, components with their options, presets."""
    from ofa_cli.plugin_pages import as_data, show_plugin

    registry = Registry.discover()
    found = registry.find(name)
    if json:
        print_json([as_data(row, manifest, registry) for row, manifest in found])
        return
    for row, manifest in found:
        show_plugin(row, manifest, registry)
