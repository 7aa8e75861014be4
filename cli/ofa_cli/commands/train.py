"""``ofa train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa_cli.lazy import command_app

app = command_app()


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="A YAML file, or 'starter' for the tasks that come with the plugins.")],
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Set a key: train.steps=100.")] = None,
    steps: Annotated[int | None, typer.Option(min=0, help="Number of steps.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the latest checkpoint.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print plans, sizes and shares; run two steps.")] = False,
    every: Annotated[bool, typer.Option("--all", help="With 'starter': every starter task, for longer.")] = False,
) -> None:
    """Train a generalist."""
    from ofacore.errors import UserError

    if every and config != "starter":
        raise UserError("--all chooses among the starter tasks: ofa train starter --all")
    settings = [*(overrides or []), *([f"train.steps={steps}"] if steps is not None else [])]
    from ofacore.run_check import read_checked

    run = read_checked(["starter-all" if every else config], settings)[0].config

    from ofacore.runs import train_run

    train_run(run, resume=resume, dry_run=dry_run, folder=out)
