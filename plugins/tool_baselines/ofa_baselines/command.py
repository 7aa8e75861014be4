"""``ofa baselines``."""

from __future__ import annotations

from typing import Annotated

import typer

from ofa_cli.output import number, print_json, print_table


def baselines(
    config: Annotated[str, typer.Argument(help="A YAML file, or 'starter'.")],
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Only this task; may be given again.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Set a key.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most test rows of each task.")] = 300,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score quick methods of scikit-learn on the tasks of a run; nothing is trained but these."""
    from ofacore.evaluation.baselines import compared
    from ofacore.plugin import UserError, suggest
    from ofacore.setup.assembly import Assembly
    from ofacore.setup.datasets import open_available
    from ofacore.setup.run_check import read_checked

    run = read_checked([config], overrides or [])
    for name in task or ():
        if name not in run.plans:
            raise UserError(
                f"no task '{name}'; {suggest(name, run.plans) or 'there are ' + ', '.join(run.plans)}"
            )
    if task:
        run = run.only(task)
    run, data = open_available(run)
    assembly = Assembly.create(run, data)
    rows = [
        {"task": name, **vars(found)}
        for name, plan in assembly.plans.items()
        for found in compared(assembly, plan, data[name], limit)
    ]
    if json:
        print_json(rows)
        return
    cells = [
        (row["task"], row["metric"], row["doc"], number(row["score"]), f"{row['seconds']:.1f}")
        for row in rows
    ]
    print_table(("task", "metric", "baseline", "score", "seconds"), cells)
