"""``report.html``: scores, curves, classes, calibration, the worst answers, and samples of one run."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ofa_report.calibration import calibrated_slots, calibration
from ofa_report.charts import line_chart, matrix_chart
from ofa_report.classes import class_scores, closed_slots, confused, confusion, pairs
from ofa_report.curves import loss_lines, metric_lines
from ofa_report.html_parts import coloured, interval, number, page, table, write_page
from ofacore.evaluation.predictions import Prediction
from ofacore.evaluation.report import Sample, ScoreRow
from ofacore.evaluation.results import read_predictions, read_samples, read_scores

SHOWN_CLASSES = 200
MATRIX_CLASSES = 25
SHOWN_CONFUSIONS = 30


def write_run_page(folder: Path, out: Path | None = None) -> Path:
    """Write the page of a scored run.

    Args:
        folder: Run folder, or one that ``ofa eval --keep`` made.
        out: The page; default: ``report.html`` in the folder.

    Raises:
        ResultsError: The folder has no scores, or they cannot be read.
    """
    scores, predictions = read_scores(folder), read_predictions(folder)
    samples = read_samples(folder)
    losses, metrics = loss_lines(folder), metric_lines(folder)
    name = folder.resolve().name
    parts = ["<h2>Scores on held-out rows</h2>" if scores else "", _score_table(scores)]
    charts = [line_chart(task, lines, "step", "loss") for task, lines in losses.items()]
    for task, lines in metrics.items():
        if any(len(points) > 1 for points in lines.values()):
            charts.append(line_chart(task, lines, "step", "metric"))
    if any(charts):
        parts += ["<h2>Curves</h2><div class='charts'>", *charts, "</div>"]
    for task in dict.fromkeys([*samples, *predictions]):
        parts += _task(task, predictions.get(task, []), samples.get(task, []))
    path = out or folder / "report.html"
    write_page(path, page(name, parts))
    return path


def _score_table(scores: Sequence[ScoreRow]) -> str:
    rows = []
    for row in scores:
        colour = {True: "good", False: "flat", None: ""}[row.beats_baseline]
        score = coloured(number(row.score), colour)
        if row.problem:
            score = coloured(f"not scored: {row.problem}", "flat")
        limits = interval(row.low, row.high)
        baseline = coloured(row.told_baseline, "wide")
        cells = (score, limits, baseline, row.verdict, row.rows, row.checkpoint)
        rows.append((row.task, row.metric, *cells))
    named = ("score", "95 % interval", "baseline", "verdict", "rows", "checkpoint")
    titles = ("task", "metric", *named)
    return table(titles, rows, texts=2)


def _task(task: str, predictions: Sequence[Prediction], samples: Sequence[Sample]) -> list[str]:
    parts = [f"<h2>{escape(task)}</h2>"]
    if samples:
        parts.append(f"<p><code>{escape(samples[0].instruction)}</code></p>")
    for slot in closed_slots(predictions):
        parts += _classes(task, slot, predictions)
    parts += [_calibration(task, slot, predictions) for slot in calibrated_slots(predictions)]
    worst = [sample for sample in samples if sample.note]
    parts += _cards("The worst answers, of these the surest first", worst)
    return parts + _cards("Samples", [sample for sample in samples if not sample.note])


def _classes(task: str, slot: str, predictions: Sequence[Prediction]) -> list[str]:
    given = pairs(predictions, slot)
    found = class_scores(given)
    titles = (slot, "precision", "recall", "F1", "rows", "answers")
    rows = [
        (one.name, number(one.precision), number(one.recall), number(one.f1))
        + (str(one.count), str(one.answered))
        for one in found[:SHOWN_CLASSES]
    ]
    parts = [f"<h3>Classes of {escape(slot)}</h3>", table(titles, rows)]
    if len(found) > SHOWN_CLASSES:
        parts.append(f"<p>and {len(found) - SHOWN_CLASSES} rarer ones</p>")
    names = [one.name for one in found]
    if len(names) <= MATRIX_CLASSES:
        title = f"{task}: what {slot} is taken for"
        return [*parts, matrix_chart(title, names, confusion(given, names))]
    often = [(*pair, str(count)) for pair, count in confused(given)[:SHOWN_CONFUSIONS]]
    return [*parts, table(("reference", "taken for", "times"), often, texts=2)]


def _calibration(task: str, slot: str, predictions: Sequence[Prediction]) -> str:
    found = calibration(predictions, slot)
    if found is None:
        return ""
    points = [(each.confidence, each.right) for each in found.bins]
    title = f"{task}: calibration of {slot} (expected error {found.error:.3f})"
    lines = {"this run": points}
    return line_chart(title, lines, "probability of the answer", "share right", "calibrated")


def _cards(title: str, samples: Sequence[Sample]) -> list[str]:
    """Samples; their inputs, answers and references are HTML that the slots' own types have made."""
    if not samples:
        return []
    cards = []
    for one in samples:
        note = f"<div class='note'>{escape(one.note)}</div>" if one.note else ""
        reference = f"<div class='slot'><b>reference</b> {one.reference}</div>"
        cards.append(f"<div class='sample'>{note}{one.inputs}<hr>{one.answer}{reference}</div>")
    return [f"<h3>{escape(title)}</h3><div class='samples'>", *cards, "</div>"]
