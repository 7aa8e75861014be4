"""``ofa plugins new``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa_cli.output import echo
from ofa_kit.scaffold.package import new_package, request_of
from ofa_kit.scaffold.writing import write_package
from ofacore.plugin import Registry


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
    request = request_of(kind, name, slot, component, grid)
    files = new_package(request, Registry.discover())
    place = folder / request.names.distribution
    write_package(place, files)
    for path in files:
        echo(f"  {place / path}")
    echo(
        f'\nNext:\n  cd {place}\n  pip install --editable ".[test]"\n  pytest\n  ofa train sample/train.yaml'
    )
