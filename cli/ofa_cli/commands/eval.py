"""``ofa eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ofa_cli.lazy import command_app
from ofa_cli.output import print_json, print_table
from ofa_cli.runs import run_folder

app = command_app()


@app.command("eval")
def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    task: Annotated[list[str] | None, typer.Option("--task", help="Only this task; may be given again.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a trained run on the test split of its tasks."""
    folder = run_folder(run)

    from ofacore.runs import evaluate_run

    scores = evaluate_run(folder, tasks=task or None)
    if json:
        print_json(scores)
        return
    rows = [(name, metric, value) for name, metrics in scores.items() for metric, value in metrics.items()]
    print_table(("task", "metric", "value"), rows)
