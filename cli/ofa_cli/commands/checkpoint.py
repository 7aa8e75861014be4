"""``ofa checkpoint``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa_cli.lazy import command_group
from ofa_cli.output import echo

app = command_group()


@app.callback()
def checkpoint() -> None:
    """Work on checkpoints."""


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(help="A checkpoint, a run folder (its latest one) or a saved model.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    sharded: Annotated[
        bool, typer.Option("--sharded", help="Write the sharded form, not the portable one.")
    ] = False,
    which: Annotated[str, typer.Option(help="Of a run folder: latest or best.")] = "latest",
) -> None:
    """Write a checkpoint of either form in the portable form, or in the sharded one."""
    from ofacore.generalist.storing import convert as convert_checkpoint

    place = convert_checkpoint(source, out, sharded=sharded, which=which)
    echo(f"wrote {place} ({'sharded' if sharded else 'portable'} form)")
