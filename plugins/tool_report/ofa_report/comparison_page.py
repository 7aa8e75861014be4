"""Several runs on one page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ofa_report.charts import interval_chart
from ofa_report.comparing import Difference, ScoredRun, differences, keys
from ofa_report.html_parts import coloured, interval, number, page, table, write_page


def score_rows(runs: Sequence[ScoredRun]) -> list[tuple[str, ...]]:
    """Task, metric, and the score in each run."""
    rows = []
    for key in keys(runs):
        found = [run.scores.get(key) for run in runs]
        rows.append((*key, *(number(row.score) if row else "" for row in found)))
    return rows


def difference_rows(found: Sequence[Difference]) -> list[tuple[str, ...]]:
    """Task, metric, run, difference, interval, rows, verdict."""
    return [
        (
            one.task,
            one.metric,
            one.run,
            number(one.difference, "+.3f"),
            interval(one.low, one.high, "+.3f"),
            str(one.rows) if one.rows else "",
            one.verdict,
        )
        for one in found
    ]


DIFFERENCE_TITLES = ("task", "metric", "run", "difference", "95 % interval", "rows", "")


def remarks(found: Sequence[Difference]) -> list[str]:
    """What a reader of differences has to know."""
    said = []
    for one in found:
        place = f"{one.task}, {one.metric}, {one.run}"
        if one.unlike:
            said.append(f"{place}: {one.unlike} rows have another reference there: left out")
        if not one.rows:
            said.append(f"{place}: no numbers of the same rows, so no interval")
    return said


def write_comparison(runs: Sequence[ScoredRun], path: Path) -> None:
    """Write the page that compares runs with the first of them."""
    found, first = differences(runs), runs[0].name
    titles = ("task", "metric", *(run.name for run in runs))
    colours = {"better": "good", "worse": "flat"}
    rows = [(*row[:6], coloured(row[6], colours.get(row[6], ""))) for row in difference_rows(found)]
    drawn = [
        (f"{one.task}, {one.metric}", one.run, one.difference, one.low, one.high)
        for one in found
        if one.rows
    ]
    gain = f"difference to {first}, with its 95 % interval"
    parts = [
        "<h2>Scores</h2>",
        table(titles, score_rows(runs), texts=2),
        f"<h2>Differences to {escape(first)}</h2>",
        "<p>Means over the rows that both runs have answered. Intervals are of pairs: of shares",
        "Newcombe's, of all else the bootstrap's.</p>",
        table(DIFFERENCE_TITLES, rows, texts=3),
        *(f"<p class='note'>{escape(remark)}</p>" for remark in remarks(found)),
        interval_chart("Paired differences", drawn, gain),
    ]
    write_page(path, page("Comparison of runs", parts))
