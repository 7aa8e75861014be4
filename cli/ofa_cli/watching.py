"""Following a run from another process: what its ``metrics.jsonl`` says, until it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from ofacore.ground.errors import UserError
from ofacore.ground.folders import is_claimed
from ofacore.training.callbacks.end_mark import read_end
from ofacore.training.callbacks.run_view import RunView, Score

FILE = "metrics.jsonl"
_LOOK_SECONDS = 0.5
PATIENCE = 20.0
"""Seconds without news, in which no process holds the folder, after which a run counts as dead."""


class DeadRunError(UserError):
    """A run stopped without having ended."""


@dataclass
class Followed:
    """What a run has told so far."""

    step: int = 0
    values: dict[str, float] = field(default_factory=dict)
    """Name -> its last value."""
    validated: int = -1

    def take(self, record: Mapping[str, Any]) -> None:
        """One record of the file."""
        step, values = int(record["step"]), {k: v for k, v in record.items() if k != "step"}
        self.step = step
        self.validated = (
            step if any(name.startswith("valid/") for name in values) else self.validated
        )
        self.values |= {name: float(value) for name, value in values.items() if value is not None}

    @property
    def is_validation(self) -> bool:
        """Whether the last record was one."""
        return self.validated == self.step

    def view(self) -> RunView:
        """As the run itself shows it."""
        found = self.values
        faults = [value for name, value in found.items() if name.startswith("train/faults/")]
        return RunView(
            self.step,
            int(found.get("run/steps", 0)),
            found.get("train/samples_per_second", 0.0),
            found.get("run/seconds_left", 0.0),
            int(sum(faults)),
            _below("epoch/", found),
            {name: loss for name, loss in _below("train/", found).items() if _is_loss(name)},
            self._scores(),
            self.validated,
        )

    def _scores(self) -> dict[str, Score]:
        found = self.values
        return {
            name: Score(
                value,
                found.get(f"best/{name}", value),
                int(found.get(f"best_step/{name}", self.validated)),
            )
            for name, value in _below("valid/", found).items()
        }


def watch(folder: Path, console: Console, patience: float = PATIENCE) -> Followed:
    """Show a run until it ends: a live table on a terminal, a line for each record elsewhere.

    Args:
        folder: Of the run.
        console: Where to.
        patience: As `PATIENCE`.

    Returns:
        What it told.

    Raises:
        UserError: No run is in the folder.
        DeadRunError: The run died.
    """
    path = folder / FILE
    if not path.exists() and not is_claimed(folder):
        raise UserError(
            f"'{folder}' holds no {FILE}: no run has begun in it, or one without the tracker jsonl"
        )
    found = Followed()
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    try:
        if live:
            live.start()
        for record in follow(path, folder, patience):
            found.take(record)
            if live:
                live.update(found.view().table(), refresh=True)
            else:
                _print(found, console)
    finally:
        if live:
            live.stop()
    _tell_end(found, folder, console)
    return found


def follow(path: Path, folder: Path, patience: float) -> Iterator[dict[str, Any]]:
    """Records of a file that grows, as they come, until no process holds the folder any more.

    Where the run has not said that it ended, it is waited for ``patience`` seconds. A run that resumes writes the file
    anew: where that is shorter it is read from its beginning.
    """
    place = 0
    heard = time.monotonic()
    while True:
        ended = not is_claimed(folder) and bool(
            read_end(folder) or _is_silent(path, heard, patience)
        )
        lines, place = _new_lines(path, place)
        records = [record for line in lines if (record := _record(line)) is not None]
        yield from records
        if records:
            heard = time.monotonic()
        elif ended:
            return
        else:
            time.sleep(_LOOK_SECONDS)


def _is_silent(path: Path, heard: float, patience: float) -> bool:
    """Whether neither this process nor the file has heard of the run for too long."""
    written = path.stat().st_mtime if path.exists() else 0.0
    return time.monotonic() - heard > min(patience, 1.0) and time.time() - written > patience


def _new_lines(path: Path, place: int) -> tuple[list[str], int]:
    """Whole lines behind a place, and the place behind them."""
    if not path.exists():
        return [], 0
    with path.open("rb") as file:
        size = file.seek(0, 2)
        begun = place if place <= size else 0
        file.seek(begun)
        text = file.read()
    whole = text.rfind(b"\n") + 1
    return text[:whole].decode("utf-8", errors="replace").splitlines(), begun + whole


def _record(line: str) -> dict[str, Any] | None:
    """A record; None of a line that is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and "step" in found else None


def _print(found: Followed, console: Console) -> None:
    view = found.view()
    line = view.validation_line() if found.is_validation else view.line()
    console.print(line, highlight=False, markup=False)


def _tell_end(found: Followed, folder: Path, console: Console) -> None:
    end = read_end(folder)
    if end is None:
        remedy = "its last checkpoint goes on with the same ofa train, with --resume --out"
        raise DeadRunError(f"the run in '{folder}' died after step {found.step}; {remedy} {folder}")
    told = f"stopped ({end['reason']})" if end["reason"] else "done"
    console.print(f"{told}, step {end['step']}", highlight=False, markup=False)


def _below(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    """Values whose names begin so, without that beginning."""
    return {
        name.removeprefix(prefix): value
        for name, value in values.items()
        if name.startswith(prefix)
    }


def _is_loss(name: str) -> bool:
    """Whether it is the loss of ``task/slot``, no part of it and no count of faults."""
    return name.count("/") == 1 and not name.startswith("faults/")
