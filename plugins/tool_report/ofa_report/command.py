"""``ofa report``."""

from __future__ import annotations

from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from ofa_cli.output import echo, number, print_json, print_table
from ofa_cli.runs import run_folder
from ofa_report.calibration import calibrated_slots, calibration
from ofa_report.classes import class_scores, closed_slots, pairs
from ofa_report.comparing import ScoredRun, differences, keys, read_runs
from ofa_report.comparison_page import (
    DIFFERENCE_TITLES,
    difference_rows,
    remarks,
    score_rows,
    write_comparison,
)
from ofa_report.html_parts import interval
from ofa_report.run_page import write_run_page
from ofacore.ground.folders import check_place
from ofacore.plugin import UserError

SHOWN = 20
"""Classes of a slot that are printed."""
COMPARISON = Path("comparison.html")


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders; the others are compared with the first.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The page; default: report.html in the run, or comparison.html."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Report on a scored run, or compare runs: a table here, and a page."""
    folders = [run_folder(run) for run in runs]
    if len(folders) == 1 and out is None:
        target = folders[0] / "report.html"
    else:
        target = out or COMPARISON
        if target.exists():
            raise UserError(f"'{target}' exists; name another file with --out")
    check_place(target)
    found = read_runs(folders)
    if len(folders) == 1:
        write_run_page(folders[0], target)
        _print_run(found[0], json)
    else:
        write_comparison(found, target)
        _print_comparison(found, json)
    if not json:
        echo(f"page: {target}")


def _print_run(run: ScoredRun, json: bool) -> None:
    if json:
        print_json(_run_values(run))
        return
    rows = [
        (*key, _share(row.score), interval(row.low, row.high), row.told_baseline, row.rows)
        for key, row in run.scores.items()
    ]
    print_table(("task", "metric", "score", "95 % interval", "baseline", "rows"), rows)
    for task, predictions in run.predictions.items():
        for slot in closed_slots(predictions):
            found = class_scores(pairs(predictions, slot))
            echo(f"\n{task}: classes of {slot}")
            cells = [
                (one.name, _share(one.precision), _share(one.recall), _share(one.f1), one.count)
                for one in found[:SHOWN]
            ]
            print_table((slot, "precision", "recall", "F1", "rows"), cells)
            if len(found) > SHOWN:
                echo(f"and {len(found) - SHOWN} rarer ones, in the page")
        for slot in calibrated_slots(predictions):
            measured = calibration(predictions, slot)
            if measured is not None:
                echo(f"{task}: expected calibration error of {slot}: {measured.error:.3f}")


def _share(value: float) -> str:
    """A number, or a dash for one that is not defined."""
    defined = None if isnan(value) else value
    return number(defined)


def _run_values(run: ScoredRun) -> dict[str, Any]:
    classes: dict[str, Any] = {}
    measured: dict[str, Any] = {}
    for task, predictions in run.predictions.items():
        for slot in closed_slots(predictions):
            found = class_scores(pairs(predictions, slot))
            classes.setdefault(task, {})[slot] = [asdict(one) for one in found]
        for slot in calibrated_slots(predictions):
            of_slot = calibration(predictions, slot)
            if of_slot is not None:
                measured.setdefault(task, {})[slot] = asdict(of_slot)
    scores = [row.plain() for row in run.scores.values()]
    return {"scores": scores, "classes": classes, "calibration": measured}


def _plain_scores(run: ScoredRun) -> list[dict[str, Any]]:
    return [run.scores[key].plain() for key in keys([run])]


def _print_comparison(runs: list[ScoredRun], json: bool) -> None:
    found = differences(runs)
    if json:
        scores = {run.name: _plain_scores(run) for run in runs}
        gains = [{**asdict(one), "verdict": one.verdict} for one in found]
        print_json({"scores": scores, "differences": gains})
        return
    print_table(("task", "metric", *(run.name for run in runs)), score_rows(runs))
    if found:
        echo(f"\ndifferences to {runs[0].name}")
        print_table(DIFFERENCE_TITLES, difference_rows(found))
    for remark in remarks(found):
        echo(remark)
