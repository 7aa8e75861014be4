"""How the loss of each task fell, in its specialist and in every generalist."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ofa_retention.curve_chart import Point, chart
from ofa_retention.study import SPECIALISTS
from ofa_retention.trainings import Training

METRICS = "metrics.jsonl"


def curves(trainings: Sequence[Training]) -> str:
    """A chart for each task, of the first seed; empty where no run wrote its metrics."""
    seed = min((training.seed for training in trainings), default=0)
    own = [training for training in trainings if training.seed == seed]
    charts: list[str] = []
    for task in dict.fromkeys(task for training in own for task in training.tasks):
        lines = {
            "specialist" if training.model == SPECIALISTS else training.model: points
            for training in own
            if task in training.tasks and (points := list(_points(training, task)))
        }
        charts.append(chart(f"{task}: {', '.join(lines)}", lines))
    if not any(charts):
        return ""
    told = "Training loss over the share of each run, in percent, in the order of the names above each."
    return f"<h2>How losses fell</h2><p>{told}</p><div class='curves'>{''.join(charts)}</div>"


def _points(training: Training, task: str) -> Iterator[Point]:
    """(percent of the run, loss of the task over all its terms)."""
    steps = max(1, training.config.train.steps)
    for record in _records(training.folder / METRICS):
        losses = [
            value
            for name, value in record.items()
            if name.startswith(f"train/{task}/") and name.count("/") == task.count("/") + 2
        ]
        if losses and all(isinstance(value, int | float) for value in losses):
            yield 100 * record["step"] / steps, sum(losses)


def _records(file: Path) -> Iterator[dict[str, float]]:
    """Lines of metrics; one that a kill cut off is passed over."""
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and "step" in found:
            yield found
