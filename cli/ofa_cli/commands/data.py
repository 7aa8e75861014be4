"""``ofa data fetch | check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa_cli.lazy import command_group
from ofa_cli.output import echo
from ofacore.ground.errors import UserError

app = command_group()


@app.callback()
def group() -> None:
    """Fetch starter data, check the rows of a file."""


@app.command()
def fetch(
    tasks: Annotated[
        list[str] | None, typer.Argument(help="Task presets; default: those of the starter.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every preset that has starter data.")
    ] = False,
) -> None:
    """Download and prepare starter data; afterwards no network is needed."""
    from ofacore.plugin import Registry

    registry = Registry.discover()
    known = {name: preset for name, preset in registry.presets().items() if preset.data}
    chosen = tasks or [name for name, preset in known.items() if every or preset.starter]
    for name in chosen:
        preset = registry.preset(name)
        if not preset.data:
            raise UserError(
                f"task '{name}' has no starter data; those that have: {', '.join(known)}"
            )
        splits = registry.resolve(preset.data)()
        echo(f"{name}: {', '.join(f'{split} {len(rows)}' for split, rows in splits.items())}")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A data file or folder.")],
    instruction: Annotated[str, typer.Option(help="The instruction that the rows are for.")],
    rows: Annotated[int, typer.Option(min=1, help="Rows to show.")] = 3,
    html: Annotated[Path | None, typer.Option(help="Where to write the rows as pictures.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="A key of the task's data: header=false, columns.slot=column."),
    ] = None,
) -> None:
    """Show the first rows as the model will see them, and name every bad row; exit 2 if there is one."""
    from ofacore.config import read_data
    from ofacore.runs.inspection import check_file

    report = check_file(file, instruction, rows=rows, html=html, data=read_data(overrides or []))
    echo(report.text)
    if report.bad:
        raise typer.Exit(2)
