"""``ofa plugins list | show | check | doctor | new``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa_cli.lazy import command_app
from ofa_cli.output import echo, print_json, print_table
from ofacore.plugin import Registry

COLUMNS = ("name", "distribution", "version", "contract", "status", "problem", "slots")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = command_app()


@app.callback()
def group() -> None:
    """Plugins: what is installed, whether it is sound, and a new one."""


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


@app.command()
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Plugins or distributions; none: all."),
    ] = None,
    imports: Annotated[
        bool, typer.Option("--imports", help="Also import their code, in processes of its own.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A warning is a problem too.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="--imports: seconds that one import may take.")
    ] = 20.0,
    json: Json = False,
) -> None:
    """Find what is wrong with plugins, one line each; exit 1 if there is a problem."""
    from ofa_kit.checks.checking import check_plugins

    report = check_plugins(*(names or ()), imports=imports, timeout=timeout)
    bad = report.findings if strict else report.problems
    if json:
        print_json(
            {
                "plugins": report.plugins,
                "ok": not bad,
                "findings": [vars(found) for found in report.findings],
            }
        )
    else:
        for finding in report.findings:
            echo(str(finding))
        warnings = len(report.findings) - len(report.problems)
        echo(f"{len(report.plugins)} checked, {len(report.problems)} problems, {warnings} warnings")
    if bad:
        raise typer.Exit(1)


@app.command()
def doctor(json: Json = False) -> None:
    """What a report about a plugin needs: versions, places, requirements, settings; exit 1 if something is wrong."""
    from ofa_cli.environment import plugin_report, print_report

    print_report(*plugin_report(), json=json)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="modality, task or component.")],
    name: Annotated[str, typer.Argument(help="Name of the plugin, such as heart-rate.")],
    slot: Annotated[
        str, typer.Option(help="Its slot type; of a task, the one that it asks about.")
    ] = "",
    component: Annotated[
        str, typer.Option("--kind", help="Kind of component: criterion, metric, schedule ...")
    ] = "",
    grid: Annotated[
        bool, typer.Option("--grid", help="A modality of grids of numbers, in one file.")
    ] = False,
    folder: Annotated[
        Path, typer.Option("--dir", help="Where the package's folder is made.")
    ] = Path("."),
) -> None:
    """Write a new package that installs, passes its tests and trains as it is."""
    from ofa_kit.scaffold.package import new_package, request_of
    from ofa_kit.scaffold.writing import write_package

    request = request_of(kind, name, slot, component, grid)
    files = new_package(request, Registry.discover())
    place = folder / request.names.distribution
    write_package(place, files)
    for path in files:
        echo(f"  {place / path}")
    echo(
        f'\nNext:\n  cd {place}\n  pip install --editable ".[test]"\n  pytest\n  ofa train sample/train.yaml'
    )
