"""``ofa eval``."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofa_cli.lazy import command_app
from ofa_cli.output import number, print_json, print_table
from ofa_cli.runs import run_folder
from ofacore.ground.errors import UserError

if TYPE_CHECKING:
    from ofacore.evaluation.report import ScoreRow

TITLES = ("task", "metric", "score", "95 % interval", "rows", "baseline", "verdict")

app = command_app()


@app.command("eval")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Only this task; may be given again.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", help="Other rows for a task: task=file; may be given again."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of generation: strategy=beam, max_length=20."),
    ] = None,
    which: Annotated[str, typer.Option(help="Checkpoint: latest, best, or its step.")] = "latest",
    rows: Annotated[
        int, typer.Option(min=0, help="Most rows of each task, evenly spread; 0: all.")
    ] = 0,
    keep: Annotated[
        Path | None,
        typer.Option(help="New folder for scores and predictions, as `ofa report` reads them."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a trained run on the test split of its tasks, or on other rows."""
    from ofacore.config import ConfigError, read_generation
    from ofacore.plan.generation import unknown_options
    from ofacore.plugin import Registry

    folder, given = run_folder(run), parse_files(data or [])
    options = read_generation(settings or [])
    if problems := unknown_options("generation", options, Registry.discover()):
        raise ConfigError(problems)

    from ofacore.evaluation.evaluation_errors import EvaluationError
    from ofacore.runs.scoring_run import evaluate_run

    try:
        scores = evaluate_run(
            folder,
            tasks=task or None,
            limit=rows or None,
            data=given,
            generation=options,
            which=which,
            keep=keep,
        )
    except EvaluationError as error:
        _print(error.scores, json)
        raise
    _print(scores, json)


def parse_files(pairs: Sequence[str]) -> dict[str, str]:
    """``task=file`` arguments; only the first ``=`` divides.

    Raises:
        UserError: No ``=``, no task, no file, or a task given twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not (name and equals and file):
            raise UserError(f"--data '{pair}' is not of the form task=file")
        if name in found:
            raise UserError(f"--data gives rows of '{name}' twice")
        found[name] = file
    return found


def _print(scores: list[ScoreRow], json: bool) -> None:
    if json:
        print_json([row.plain() for row in scores])
        return
    print_table(TITLES, [_cells(row) for row in scores])


def _cells(row: ScoreRow) -> tuple[str, ...]:
    if row.problem:
        return row.task, row.metric, "not scored", "", row.rows, "", ""
    interval = f"{number(row.low)} to {number(row.high)}" if isfinite(row.low) else ""
    told = (row.rows, row.told_baseline, row.verdict)
    return row.task, row.metric, number(row.score), interval, *told
