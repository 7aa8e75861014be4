"""``ofa plugins list | show``."""

from __future__ import annotations

from typing import Annotated

import typer

from ofa_cli.lazy import command_group
from ofa_cli.output import echo, print_json, print_table
from ofacore.plugin import Registry

COLUMNS = ("name", "distribution", "version", "contract", "status", "problem", "slots")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = command_group()


@app.callback()
def group() -> None:
    """Plugins: what is installed, and what it brings."""


@app.command("list")
def list_plugins(json: Json = False) -> None:
    """Every plugin, usable or not, with the reason."""
    rows = [{key: getattr(row, key) for key in COLUMNS} for row in Registry.discover().rows]
    if json:
        print_json(rows)
        return
    shown = ("name", "distribution", "version", "contract", "status", "slots")
    print_table(
        shown, [[*(row[key] for key in shown[:-1]), ", ".join(row["slots"])] for row in rows]
    )
    for row in rows:
        if row["problem"]:
            echo(f"\n{row['name']} ({row['distribution']}): {row['problem']}")


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
