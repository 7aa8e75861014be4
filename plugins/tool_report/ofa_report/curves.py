"""What a run measured while it trained, as lines to draw."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path

Lines = dict[str, list[tuple[float, float]]]
"""Name of a line -> (step, value)."""


def loss_lines(folder: Path) -> dict[str, Lines]:
    """Task -> losses of training (``train/task/slot``) and of validation (``valid/task/slot/loss``)."""
    return _lines(folder, losses=True)


def metric_lines(folder: Path) -> dict[str, Lines]:
    """Task -> metrics of validation."""
    return _lines(folder, losses=False)


def _lines(folder: Path, losses: bool) -> dict[str, Lines]:
    found: dict[str, Lines] = {}
    for step, values in _records(folder / "metrics.jsonl"):
        for name, value in values.items():
            split, _, rest = name.partition("/")
            task, _, of = rest.partition("/")
            if of and _is_loss(split, of) is losses and isinstance(value, int | float):
                label = f"{'training' if split == 'train' else 'validation'}: {of}"
                line = found.setdefault(task, {}).setdefault(label, [])
                if isfinite(value):
                    line.append((step, float(value)))
    return found


def _is_loss(split: str, of: str) -> bool | None:
    """Whether a name means a loss or a metric of validation; None: neither."""
    if split == "valid":
        return of.endswith("/loss") or of == "loss"
    if split == "train" and "/" not in of:
        return True
    return None


def _records(path: Path) -> list[tuple[float, dict[str, object]]]:
    """Step and values of each line; a line that a killed run did not finish is passed over."""
    found = []
    for line in path.read_text("utf-8", "replace").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
            found.append((float(record["step"]), dict(record.get("values", record))))
        except (ValueError, KeyError, TypeError):
            continue
    return found
