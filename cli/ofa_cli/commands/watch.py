"""``ofa watch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa_cli.lazy import command_app
from ofa_cli.runs import run_folder

app = command_app()


@app.command()
def watch(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
) -> None:
    """Follow a run that trains in another process until it ends: losses, scores, time left.

    Ends with 0 where the run ended, and with 2 where it died.
    """
    folder = run_folder(run)

    from rich.console import Console

    from ofa_cli.watching import watch as follow

    try:
        follow(folder, Console(soft_wrap=True))
    except KeyboardInterrupt:  # whoever has seen enough; the run goes on
        raise typer.Exit from None
