"""Who helps whom, as the report tells it: measured once for each generalist, then kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ofa_cli.output import echo, print_table
from ofa_retention.grouping import groups_of
from ofa_retention.heatmap import heatmap
from ofa_retention.study import SPECIALISTS
from ofa_retention.trainings import Training
from ofa_retention.transfer import moments
from ofacore.checkpoint import checkpoints
from ofacore.checkpoint.durable import replace_json
from ofacore.ground.json_files import read_object

TRANSFER = "transfer.json"
_SHOWN = 5


def helping(trainings: Sequence[Training]) -> dict[str, Any]:
    """Variant -> matrices of its first seed's run, and groups; JSON-ready."""
    found: dict[str, Any] = {}
    for training in trainings:
        if training.model != SPECIALISTS and training.model not in found:
            found[training.model] = _measured(training)
    return found


def _measured(training: Training) -> dict[str, Any]:
    file = training.folder / TRANSFER
    steps = [place.name for place in checkpoints(training.folder)]
    if file.is_file():
        kept = read_object(file)
        if kept.get("checkpoints") == steps:
            return kept
    tasks = list(training.tasks)
    seen = moments(training.folder, tasks)
    lookahead = _over(np.stack([moment.lookahead for moment in seen]))
    cosine = _over(np.stack([moment.cosine for moment in seen]))
    found = {
        "checkpoints": steps,
        "tasks": tasks,
        "lookahead": lookahead.tolist(),
        "cosine": cosine.tolist(),
        "groups": [list(group) for group in groups_of(tasks, lookahead)],
        "along the run": [
            {
                "step": moment.step,
                "lookahead": moment.lookahead.tolist(),
                "cosine": moment.cosine.tolist(),
            }
            for moment in seen
        ],
    }
    replace_json(file, found)
    return read_object(file)


def _over(stacked: np.ndarray) -> np.ndarray:
    """Means over checkpoints, of what is a number in all of them."""
    return np.asarray(stacked.mean(0))


def matrix(values: Sequence[Sequence[float | None]]) -> np.ndarray:
    """A matrix as JSON keeps it: null is not a number."""
    numbers = []
    for row in values:
        numbers.append([np.nan if value is None else value for value in row])
    return np.array(numbers, dtype=float)


def section(found: Mapping[str, Any]) -> str:
    """The part of the page."""
    parts: list[str] = []
    for variant, kept in found.items():
        tasks, lookahead = kept["tasks"], matrix(kept["lookahead"])
        groups = "".join(f"<li>{escape(', '.join(group))}</li>" for group in kept["groups"])
        parts += [
            f"<h2>Who helps whom: {escape(variant)}</h2>",
            f"<p>Means over {len(kept['checkpoints'])} checkpoints along the run. After one step on the task of the "
            "row, the loss of the task of the column falls by so many percent; blue helps, red harms.</p>",
            heatmap(tasks, lookahead, "step on", "loss of", 0.01),
            "<p>Cosine of the gradients of two tasks.</p>",
            heatmap(tasks, matrix(kept["cosine"]), "gradient of", "gradient of", 1.0),
            f"<p>Groups that help each other:</p><ul>{groups}</ul>",
        ]
    return "\n".join(parts)


def print_helping(found: Mapping[str, Any]) -> None:
    """The strongest pairs and the groups."""
    for variant, kept in found.items():
        tasks, lookahead = kept["tasks"], matrix(kept["lookahead"])
        pairs = [
            (float(lookahead[a, b]), one, other)
            for a, one in enumerate(tasks)
            for b, other in enumerate(tasks)
            if a != b and np.isfinite(lookahead[a, b])
        ]
        pairs.sort(reverse=True)
        chosen = pairs if len(pairs) <= 2 * _SHOWN else [*pairs[:_SHOWN], *pairs[-_SHOWN:]]
        echo(f"generalist '{variant}': a step on the one task, the loss of the other")
        print_table(
            ("step on", "loss of", "falls by"),
            [(one, other, f"{100 * value:+.2f} %") for value, one, other in chosen],
        )
        for group in kept["groups"]:
            echo(f"group: {', '.join(group)}")
        echo()
