"""``ofa eval``."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofa_cli.lazy import command_app
from ofa_cli.output import number, print_json, print_table
from ofa_cli.runs import run_folder

if TYPE_CHECKING:
    from ofacore.evaluation.report import ScoreRow

TITLES = ("task", "metric", "score", "95 % interval", "baseline", "samples")

app = command_app()


@app.command("eval")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Only this task; may be given again.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a trained run on the test split of its tasks."""
    folder = run_folder(run)

    from ofacore.evaluation.evaluation_errors import EvaluationError
    from ofacore.runs.train_run import evaluate_run

    try:
        scores = evaluate_run(folder, tasks=task or None)
    except EvaluationError as error:
        _print(error.scores, json)
        raise
    _print(scores, json)


def _print(scores: list[ScoreRow], json: bool) -> None:
    if json:
        print_json([row.plain() for row in scores])
        return
    print_table(TITLES, [_cells(row) for row in scores])


def _cells(row: ScoreRow) -> tuple[str, ...]:
    if row.problem:
        return row.task, row.metric, "not scored", "", "", row.rows
    interval = f"{number(row.low)} to {number(row.high)}" if isfinite(row.low) else ""
    return row.task, row.metric, number(row.score), interval, number(row.baseline), row.rows
