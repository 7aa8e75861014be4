"""``ofa merge``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ofa_cli.output import echo, number, print_json, print_table
from ofa_cli.runs import run_folder
from ofacore.plugin import UserError

if TYPE_CHECKING:
    from ofa_merge.merging import MergeReport
    from ofa_merge.vectors import PartRow, VectorList


def merge(
    runs: Annotated[list[Path], typer.Argument(help="Run folders or saved models.")],
    method: Annotated[
        str,
        typer.Option(
            help="mean, slerp, task-arithmetic, ties, dare, breadcrumbs, tall-masks or adamerging."
        ),
    ] = "mean",
    out: Annotated[Path | None, typer.Option(help="Run folder to make.")] = None,
    weights: Annotated[
        str | None, typer.Option(help="One for each run, as 0.5,0.3. Default: the method's.")
    ] = None,
    search: Annotated[
        bool, typer.Option("--search", help="Choose weights by the loss on validation rows.")
    ] = False,
    base: Annotated[
        Path | None, typer.Option(help="What the runs began with. Default: what they say.")
    ] = None,
    which: Annotated[str, typer.Option(help="Of run folders: latest or best.")] = "latest",
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the method: density=0.3.")
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Only compare what training added in each run.")
    ] = False,
    score: Annotated[
        bool, typer.Option(help="Score the merged model and the runs on held-out rows.")
    ] = True,
    limit: Annotated[int, typer.Option(help="Most rows of a task to score; 0: all.")] = 200,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make one model, with the tasks of all, of several runs that began alike; nothing is trained."""
    folders = [run_folder(run) for run in runs]
    if listed:
        _list(folders, base, which, json)
        return
    if len(runs) < 2 and weights is None:
        raise UserError(
            f"'{runs[0]}' alone is nothing to merge: give two or more runs; to weaken what one run learned, or to "
            "take it away, give its weight (--weights=-0.5 --method task-arithmetic)"
        )
    if out is None:
        raise UserError("--out is missing: name the run folder to make, or compare runs by --list")
    if limit < 0:
        raise UserError(f"--limit {limit}: must be 0, for all, or above")

    from ofa_merge import merging
    from ofa_merge.methods import read_settings
    from ofa_merge.weighing import read_weights

    given_weights = None if weights is None else read_weights(weights)
    report = merging.merge(
        folders,
        method,
        out=out,
        weights=given_weights,
        search=search,
        base=base,
        which=which,
        options=read_settings(settings or []),
        score=score,
        limit=limit or None,
        tell=lambda told: typer.echo(told, err=True),
    )
    if json:
        print_json(report.plain())
        return
    _print(report)


def _print(report: MergeReport) -> None:
    began = f", which began with {report.ancestor}" if report.ancestor else ""
    echo(f"{report.folder}: {len(report.runs)} runs by {report.method}{began}")
    if isinstance(report.weights, list):
        pairs = zip(report.runs, report.weights, strict=True)
        echo("weights: " + ", ".join(f"{run} {weight:g}" for run, weight in pairs))
    else:
        echo(f"weights: learned for {len(report.weights)} parts; see merge.json")
    for note in report.notes:
        echo(note)
    if not report.kept:
        return
    titles = ("task", "metric", "merged", "alone", "baseline", "kept", "rows", "best run")
    rows = []
    for row in report.kept:
        kept = "-" if row.kept is None else f"{row.kept:.0%}"
        merged = "not scored" if row.problem else number(row.merged)
        numbers = (merged, number(row.specialist), number(row.baseline), kept, row.rows)
        rows.append((row.task, row.metric, *numbers, row.run))
    print_table(titles, rows)
    for row in report.kept:
        if row.problem:
            echo(f"not scored: {row.task}: {row.problem}")


def _list(folders: list[Path], base: Path | None, which: str, json: bool) -> None:
    from ofa_merge.vectors import list_vectors

    found = list_vectors(folders, base, which)
    if json:
        rows = [row.plain() for row in found.rows]
        print_json({"ancestor": found.ancestor, "runs": found.runs, "parts": rows})
        return
    echo(f"task vectors since {found.ancestor}")
    for place, run in enumerate(found.runs):
        echo(f"{_letter(place)}: {run}")
    letters = {run: _letter(place) for place, run in enumerate(found.runs)}
    pairs = [(one, two) for place, one in enumerate(found.runs) for two in found.runs[place + 1 :]]
    titles = ["part", "base", *(f"norm {letters[run]}" for run in found.runs)]
    for one, two in pairs:
        titles += [f"cos {letters[one]}{letters[two]}", f"signs {letters[one]}{letters[two]}"]
    print_table(titles, [_cells(row, found, pairs) for row in found.rows])
    if pairs:
        echo(
            "cos: cosine of two task vectors; signs: share of numbers that they move against each other"
        )


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else f"R{place}"


def _cells(row: PartRow, found: VectorList, pairs: list[tuple[str, str]]) -> list[str]:
    cells = [row.part, number(row.base), *(number(row.norms.get(run)) for run in found.runs)]
    for pair in pairs:
        conflict = row.conflicts.get(pair)
        share = "-" if conflict is None else f"{conflict:.0%}"
        cells += [number(row.cosines.get(pair)), share]
    return cells
