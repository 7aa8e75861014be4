"""What scoring leaves in a run folder: ``scores.json``, ``predictions/TASK.jsonl`` and ``samples/TASK.jsonl``.

Pages and comparisons are made of these files alone; no model is needed for them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from ofacore.evaluation.predictions import Prediction
from ofacore.evaluation.report import Sample, ScoreRow
from ofacore.ground.errors import UserError
from ofacore.ground.json_text import json_text

if TYPE_CHECKING:
    from ofacore.evaluation.runner import Evaluation

SCORES = "scores.json"
PREDICTIONS = "predictions"
SAMPLES = "samples"


class ResultsError(UserError):
    """A file of results cannot be read; names it and the way out."""


def write_results(folder: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write the scores, predictions and samples of some tasks; those of other tasks stay as they are.

    Raises:
        OSError: The folder cannot be written to.
    """
    tasks = {done.task for done in evaluations}
    scores = [row for done in evaluations for row in done.scores]
    kept = [row for row in scores_or_none(folder) if row.task not in tasks]
    rows = [row.plain() for row in [*kept, *scores]]
    for done in evaluations:
        answers = (one.plain() for one in done.predictions)
        shown = [*done.samples, *done.worst]
        _write(_place(folder, PREDICTIONS, done.task), _lines(answers))
        _write(_place(folder, SAMPLES, done.task), _lines(map(asdict, shown)))
    _write(folder / SCORES, json_text(rows, indent=1) + "\n")


def read_scores(folder: Path) -> list[ScoreRow]:
    """The scores of a run; numbers that were not finite are nan.

    Raises:
        ResultsError: There are none, or the file cannot be read.
    """
    path = folder / SCORES
    if not path.is_file():
        raise ResultsError(f"'{folder}' has no {SCORES}: score it with `ofa eval {folder}`")
    known = {each.name for each in fields(ScoreRow)} - {"items"}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [_score(row, known) for row in found]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise _unreadable(path, error) from error


def read_predictions(folder: Path) -> dict[str, list[Prediction]]:
    """Task -> its predictions, of all tasks that have some.

    Raises:
        ResultsError: A file cannot be read.
    """
    files = _files(folder, PREDICTIONS)
    return {task: _parsed_lines(path, Prediction.read) for task, path in files}


def read_samples(folder: Path) -> dict[str, list[Sample]]:
    """Task -> samples to look at, of all tasks that have some.

    Raises:
        ResultsError: A file cannot be read.
    """
    files = _files(folder, SAMPLES)
    return {task: _parsed_lines(path, _sample) for task, path in files}


def scores_or_none(folder: Path) -> list[ScoreRow]:
    """The scores of a run; none where it has none that can be read."""
    try:
        return read_scores(folder)
    except ResultsError:
        return []


def _sample(stored: Mapping[str, Any]) -> Sample:
    return Sample(**stored)


def _score(row: Mapping[str, Any], known: set[str]) -> ScoreRow:
    values = {name: value for name, value in row.items() if name in known}
    nan = {name: float("nan") for name in ("score", "low", "high") if values.get(name) is None}
    return ScoreRow(**{**values, **nan})


def _files(folder: Path, kind: str) -> list[tuple[str, Path]]:
    return [(unquote(path.stem), path) for path in sorted((folder / kind).glob("*.jsonl"))]


def _place(folder: Path, kind: str, task: str) -> Path:
    return folder / kind / f"{quote(task, safe=' ')}.jsonl"


def _lines(values: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json_text(value) + "\n" for value in values)


def _read_lines(path: Path) -> list[str]:
    """The lines of JSON, which may hold whatever else `str.splitlines` takes for the end of one."""
    try:
        return [line for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _parsed_lines(path: Path, make: Any) -> list[Any]:
    return [_parsed(path, line, make) for line in _read_lines(path)]


def _parsed(path: Path, line: str, make: Any) -> Any:
    try:
        return make(json.loads(line))
    except (ValueError, TypeError, AttributeError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ResultsError:
    return ResultsError(
        f"'{path}' cannot be read ({type(error).__name__}: {error}); score the run again with `ofa eval`"
    )


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
