"""``ofa export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa_cli.output import echo
from ofa_cli.runs import run_folder
from ofacore.plugin import UserError, suggest

FORMATS = ("safetensors", "hf-bart", "transformers")


def export(
    run: Annotated[Path, typer.Argument(help="Run folder or saved model.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="safetensors: tensors and settings, an imported model under its own names; "
            "hf-bart: a folder that BartForConditionalGeneration reads; transformers: the folder of a model whose "
            "backbone came from one.",
        ),
    ] = "safetensors",
    which: Annotated[str, typer.Option(help="latest or best.")] = "latest",
) -> None:
    """Write a model for other programs."""
    if form not in FORMATS:
        raise UserError(
            f"--format {form}: {suggest(form, FORMATS) or 'there are ' + ', '.join(FORMATS)}"
        )
    folder = run_folder(run)

    from ofa_foreign.exporting import export_run

    echo(f"{export_run(folder, out, form, which)}")
