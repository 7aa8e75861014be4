"""``ofa export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa_cli.output import echo
from ofa_cli.runs import run_folder
from ofacore.plugin import UserError, suggest

FORMATS = ("safetensors", "hf-bart", "transformers", "ofa")


def export(
    run: Annotated[Path, typer.Argument(help="Run folder or saved model.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="safetensors: tensors and settings, an imported model under its own names; "
            "hf-bart: a folder that BartForConditionalGeneration reads; transformers: the folder of a model whose "
            "backbone came from one; ofa: a saved model, as other commands read it. "
            "Default: safetensors, with --tasks ofa.",
        ),
    ] = None,
    tasks: Annotated[
        str, typer.Option(help="Only these tasks, and what they need of the model: one,another.")
    ] = "",
    which: Annotated[str, typer.Option(help="latest or best.")] = "latest",
) -> None:
    """Write a model for other programs, or the slim model of some of its tasks."""
    form = form or ("ofa" if tasks else "safetensors")
    if form not in FORMATS:
        raise UserError(
            f"--format {form}: {suggest(form, FORMATS) or 'there are ' + ', '.join(FORMATS)}"
        )
    folder = run_folder(run)

    from ofa_foreign.exporting import export_run

    names = [name.strip() for name in tasks.split(",") if name.strip()]
    echo(f"{export_run(folder, out, form, which, names)}")
