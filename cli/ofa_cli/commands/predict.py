"""``ofa predict``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofa_cli.commands.infer import parse_data, parse_values
from ofa_cli.lazy import command_app
from ofa_cli.runs import run_folder
from ofacore.ground.errors import UserError
from ofacore.ground.patterns import is_plain_path

if TYPE_CHECKING:
    from ofa_cli.predicting.predict import Done

app = command_app()


@app.command()
def predict(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    instruction: Annotated[
        str, typer.Argument(help="A task of the run, or an instruction, as for `ofa infer`.")
    ],
    source: Annotated[
        str,
        typer.Argument(help="A file of rows, a folder of files, or '-' for lines from stdin."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="answers.jsonl, .csv or .parquet, or a folder; default: lines to stdout."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on behind the rows that are answered.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace answers that are there.")
    ] = False,
    n_best: Annotated[int, typer.Option(min=1, help="Candidates of each slot.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows that are decoded together.")] = 64,
    which: Annotated[str, typer.Option(help="Checkpoint: latest or best.")] = "latest",
    keep: Annotated[
        list[str] | None, typer.Option(help="A column that is copied to the answers.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", help="A value for all rows: slot=value.")
    ] = None,
    closed_set: Annotated[
        list[str] | None,
        typer.Option("--closed-set", help="An allowed value of a target slot; repeat it."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of generation: strategy=beam, max_length=20."),
    ] = None,
    reading: Annotated[
        list[str] | None,
        typer.Option("--read", help="How the file is read: header=false, columns.slot=column."),
    ] = None,
) -> None:
    """Answer every row of a file, a folder or a stream."""
    from ofacore.config import ConfigError, read_data, read_generation
    from ofacore.plan.generation import unknown_options
    from ofacore.plugin import Registry

    folder, given, allowed = run_folder(run), parse_data(data or []), parse_values(closed_set or [])
    if source != "-" and is_plain_path(source) and not Path(source).exists():
        from ofacore.sources.folder import nearest

        raise UserError(f"no file or folder {source}{nearest(Path(source))}")
    options = read_generation(settings or [])
    if problems := unknown_options("generation", options, Registry.discover()):
        raise ConfigError(problems)
    read = read_data(reading or []).model_dump(exclude_unset=True)

    from ofa_cli.predicting.predict import Asked
    from ofa_cli.predicting.predict import predict as answer

    asked = Asked(
        folder,
        instruction,
        source,
        out,
        resume,
        overwrite,
        n_best,
        batch_size,
        which,
        given,
        allowed,
        options,
        read,
        keep or (),
    )
    _tell(answer(asked))


def _tell(done: Done) -> None:
    """What came of it, on standard error: standard output may hold the answers."""
    if done.places is not None and not done.answers and not done.bad:
        print(f"nothing is left to answer: {done.places.final}", file=sys.stderr)
        return
    before = f", behind {done.before} of before" if done.before else ""
    place = f": {done.places.final}" if done.places is not None else ""
    print(f"{done.answers} answers{before}, {done.a_second:.1f} rows/s{place}", file=sys.stderr)
    if done.bad:
        where = f": {done.places.bad}" if done.places is not None else ""
        print(f"{done.bad} rows could not be answered{where}", file=sys.stderr)
