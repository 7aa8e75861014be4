"""``ofa import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa_cli.output import echo
from ofacore.plugin import UserError


def import_(
    path: Annotated[
        Path,
        typer.Argument(
            help="A checkpoint of OFASys, OFA or a Hugging Face BART, or another model's folder of transformers."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Run folder to make.")],
    instruction: Annotated[
        list[str] | None,
        typer.Option(
            help="What the model is asked; may be given again. Default: what it says itself."
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="Go on although names that this pattern finds are missing, unexpected or of another shape."
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder of the tokenizer's files, if not beside it.")
    ] = None,
    experts: Annotated[
        str,
        typer.Option(
            help="none, or modality: each modality gets feed-forward layers of its own to go on from."
        ),
    ] = "none",
) -> None:
    """Make a run of another project's checkpoint; no code of the checkpoint is run."""
    if experts not in ("none", "modality"):
        raise UserError(f"--experts {experts}: there are none and modality")

    from ofa_foreign.importing import import_run

    report = import_run(
        path,
        out,
        instructions=instruction or (),
        allow=allow or (),
        tokenizer=tokenizer,
        experts=experts,
    )
    for line in report.lines():
        echo(line)
