"""Scoring whole runs, as the command line does it: when they end, and again whenever a user asks."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ofacore.checkpoint import find_latest, pointer_facts
from ofacore.evaluation.allowance import beside
from ofacore.evaluation.evaluation_errors import MetricError
from ofacore.evaluation.report import ScoreRow
from ofacore.evaluation.results import scores_or_none, write_results
from ofacore.evaluation.runner import Evaluation, evaluate_tasks
from ofacore.evaluation.samples import plain_samples
from ofacore.generalist.evaluating import evaluations, scores_of
from ofacore.generalist.facade import Generalist
from ofacore.generalist.storing import checkpoint_of, load
from ofacore.ground.errors import UserError
from ofacore.ground.excerpts import listing
from ofacore.ground.figures import figure, figures
from ofacore.ground.folders import check_free, check_writable
from ofacore.ground.printable import escaped
from ofacore.ground.tables import table_lines
from ofacore.launch.heartbeat import Heartbeat
from ofacore.parallel.process import tune_process
from ofacore.parallel.process_groups import is_first
from ofacore.plugin import Registry
from ofacore.plugin.hooks import RunHooks
from ofacore.training.callbacks.end_mark import training_seconds

logger = logging.getLogger("ofacore.evaluation")


def evaluate_run(
    folder: Path,
    tasks: Sequence[str] | None = None,
    *,
    split: str = "test",
    limit: int | None = None,
    data: Mapping[str, Any] | None = None,
    generation: Mapping[str, Any] | None = None,
    which: str = "latest",
    keep: Path | None = None,
) -> list[ScoreRow]:
    """Score a trained run on held-out rows.

    What is scored as the end of its training scores it, the latest checkpoint on the test rows that it names, becomes
    part of the run: scores, predictions and samples are written there. Anything else is kept where ``keep`` says.

    Args:
        folder: Run folder or saved model.
        tasks: Which tasks; default: those that ``data`` names, else all.
        split: Which rows.
        limit: Most rows of each task.
        data: Task -> rows to score on, in any form that a task takes.
        generation: Options of generation.
        which: Of a run folder: ``latest``, ``best``, or the step of a checkpoint.
        keep: New folder for what is scored; it can be reported on and compared as a run can.

    Raises:
        UserError: Something that is asked for is not there, or does not fit; told before any work.
        EvaluationError: Some metrics could not be computed; it holds the scores of the others.
    """
    if keep is not None:
        _check_new(keep)
    tune_process()
    place = checkpoint_of(folder, which)
    _tell_if_training(folder, place)
    generalist = load(place, None)
    done: list[Evaluation] = []
    for found in evaluations(
        generalist,
        tasks or (),
        split=split,
        limit=limit,
        data=data,
        generation=generation,
        seconds=beside(training_seconds(folder)),
        shows=True,
    ):
        done.append(_of_checkpoint(found, place))
        print(f"scored {found.task}", file=sys.stderr)
        for notice in found.notices:
            logger.warning("%s", notice)
    as_trained = which == "latest" and split == "test" and not (data or generation or limit)
    if as_trained:
        done = _with_stored_baselines(folder, done)
    if keep is not None:
        _store(keep, done, generalist.registry)
    elif as_trained and (folder / "checkpoints").is_dir():
        _store(folder, done, generalist.registry)
    return scores_of(done)


def finish(
    generalist: Generalist,
    folder: Path,
    console: Console,
    watch: Sequence[Heartbeat] = (),
) -> list[ScoreRow]:
    """Score on the test split, print the table and some answers, and keep them in the run.

    All processes of a run score together; the first has baselines, prints and writes. ``watch`` hears of every task.
    """
    done: list[Evaluation] = []
    latest = find_latest(folder)
    limit = generalist.assembly.config.train.test_rows or None
    for found in evaluate_tasks(
        generalist,
        generalist.tasks,
        "test",
        limit,
        baseline=is_first(),
        seconds=beside(training_seconds(folder)),
        shows=is_first(),
    ):
        done.append(_of_checkpoint(found, latest))
        for each in watch:
            each.alive()
        if is_first():
            print(f"scored {found.task}", file=sys.stderr)
    scores = [row for evaluation in done for row in evaluation.scores]
    if not is_first():
        return scores
    print_scores(scores, console)
    for line in _remarks(done, folder):
        console.print(escaped(line), markup=False, highlight=False, soft_wrap=True)
    _store(folder, done, generalist.registry)
    report = folder / "report.html"
    where = f"   report: {report}" if report.is_file() else ""
    told = f"run folder: {folder}{where}"
    console.print(told, markup=False, highlight=False, soft_wrap=True)
    return scores


def print_scores(scores: Sequence[ScoreRow], console: Console) -> None:
    """The table of scores, each with its 95 % interval."""
    if not scores:
        console.print("no scores: no task has both metrics and held-out rows", highlight=False)
        return
    lines = []
    for row in scores:
        interval = figures(row.low, row.high) if not math.isnan(row.low) else ""
        score = "not scored" if row.problem else figure(row.score)
        told = (row.rows, row.told_baseline, row.verdict)
        lines.append((row.task, row.metric, score, interval, *told))
    console.print("held-out scores", highlight=False)
    titles = ("task", "metric", "score", "95 % interval", "rows", "baseline", "verdict")
    print_table(titles, lines, console)


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    """As wide as the terminal; without one each row is a line, however long."""
    width = console.width if console.is_terminal else None
    for line in table_lines(titles, rows, width):
        console.print(escaped(line), markup=False, highlight=False)


def _remarks(done: Sequence[Evaluation], folder: Path) -> list[str]:
    """What is to be said below the table: some answers, rows left out, metrics that failed, which step is best."""
    lines: list[str] = []
    for evaluation in done:
        lines += [*plain_samples(evaluation.samples[:2]), *evaluation.notices]
        for error in evaluation.failures:
            lines.append(f"not scored: {evaluation.task}, metric {_told(error)}")
    if any(0 < row.samples + row.left_out < row.available for one in done for row in one.scores):
        lines.append(
            f"scored on some of the test rows, evenly spread; all of them: ofa eval {folder}"
        )
    used = next((row.checkpoint for one in done for row in one.scores if row.checkpoint), "")
    return [*lines, *told_checkpoints(folder, used)]


def told_checkpoints(folder: Path, used: str) -> Iterator[str]:
    """Which checkpoint was scored, and which one validation found best."""
    best = pointer_facts(folder, "best")
    score = best.get("score")
    by = f", by {best['by']}" if best.get("by") else ""
    told = f" ({score:.4g}{by})" if isinstance(score, float | int) else by
    if used and best.get("folder") == used:
        yield f"scored: the last checkpoint, {used}, which is the best one too{told}"
        return
    if used:
        yield f"scored: the last checkpoint, {used}"
    if "step" in best:
        yield f"best checkpoint: step {best['step']}{told}; to score it: ofa eval {folder} --which best"


def _told(error: MetricError) -> str:
    return f"'{error.use.metric}' on slot '{error.use.slot}': {error.reason}"


def _store(folder: Path, done: Sequence[Evaluation], registry: Registry) -> None:
    """Keep what was scored in the run; scores that were computed are not lost to a folder that cannot be written."""
    try:
        write_results(folder, done)
    except OSError as error:
        logger.warning("'%s' keeps no scores: %s", folder, error.strerror or error)
        return
    RunHooks(registry).call("ofa_scored", folder=folder)


def _of_checkpoint(found: Evaluation, place: Path | None) -> Evaluation:
    name = "" if place is None else place.name
    return replace(found, scores=[replace(row, checkpoint=name) for row in found.scores])


def _with_stored_baselines(folder: Path, done: Sequence[Evaluation]) -> list[Evaluation]:
    """With baselines that a run was scored with, where there are none now, as where training rows are gone."""
    stored = {
        (row.task, row.metric): row for row in scores_or_none(folder) if row.baseline is not None
    }
    found, tasks = [], []
    for evaluation in done:
        rows = [_beside(row, stored.get((row.task, row.metric))) for row in evaluation.scores]
        if rows != list(evaluation.scores):
            tasks.append(evaluation.task)
        found.append(replace(evaluation, scores=rows))
    if tasks:
        told = "baselines of %s are those that the run has: none could be fitted now"
        logger.warning(told, listing(tasks))
    return found


def _beside(row: ScoreRow, stored: ScoreRow | None) -> ScoreRow:
    """A score with the baseline of a stored one; its name says where that was for other rows."""
    if stored is None or row.baseline is not None or row.problem:
        return row
    doc = stored.baseline_doc
    if stored.samples != row.samples and " of the rows" not in doc:
        doc = f"{doc}, on {stored.samples} of the rows"
    return replace(row, baseline=stored.baseline, baseline_doc=doc)


def _check_new(folder: Path) -> None:
    """Make sure that a folder for results is not there, and can be made.

    Raises:
        UserError: Something is there, or it cannot be made.
    """
    if folder.exists():
        raise UserError(f"--keep '{folder}': it exists; name a new folder")
    check_writable(folder)


def _tell_if_training(folder: Path, place: Path) -> None:
    try:
        check_free(folder)
    except UserError:
        logger.warning("'%s' is being trained: what is scored is its %s", folder, place.name)
