"""What a person sees of a run that trains, in its own terminal or in another: headline, line, table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ofacore.ground.figures import figure


@dataclass(frozen=True)
class Score:
    """A value of validation."""

    value: float
    best: float
    step: int
    """At which it was best."""

    def __str__(self) -> str:
        if not math.isfinite(self.best):
            return figure(self.value)
        return f"{figure(self.value)} (best {figure(self.best)}, step {self.step})"


@dataclass(frozen=True)
class RunView:
    """A run at one moment."""

    step: int
    steps: int
    samples_per_second: float
    seconds_left: float
    faults: int = 0
    epochs: Mapping[str, float] = field(default_factory=dict)
    """Task -> passes over its rows."""
    losses: Mapping[str, float] = field(default_factory=dict)
    """``task/slot`` -> loss in training."""
    scores: Mapping[str, Score] = field(default_factory=dict)
    """``task/slot/loss`` or ``task/metric`` -> value of the last validation."""
    validated: int = -1
    """Step of the last validation; -1: there was none."""

    def headline(self) -> str:
        """Step, speed, time that is left."""
        left = timedelta(seconds=round(self.seconds_left))
        rate = f"{self.samples_per_second:.0f} samples/s"
        told = f"step {self.step}/{self.steps}  {rate}  left {left}"
        return told + (f"  faults {self.faults}" if self.faults else "")

    def line(self) -> str:
        """All of it but scores; passes over rows if there is one task, since several share a line with their losses."""
        losses = [f"{name} {figure(value)}" for name, value in sorted(self.losses.items())]
        return "  ".join([self.headline(), *self._passes(), *losses])

    def validation_line(self) -> str:
        """The scores."""
        scores = [f"{name} {score}" for name, score in sorted(self.scores.items())]
        return "  ".join([f"validation, step {self.validated}", *scores])

    def _passes(self) -> list[str]:
        if len(self.epochs) != 1:
            return []
        return [f"epoch {value:.2f}" for value in self.epochs.values()]

    def table(self) -> Table:
        """Losses and scores below their tasks, so that names stay whole on a narrow screen."""
        title = self.headline()
        if self.validated >= 0:
            title += f"  validated at {self.validated}"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        table.add_column("task/slot", overflow="fold")
        for name in ("epoch", "train", "valid", "best", "at step"):
            table.add_column(name, justify="right", no_wrap=True)
        above = ""
        for name in self._names():
            task, _, slot = name.partition("/")
            if task != above:
                above = task
                passes = f"{self.epochs[task]:.2f}" if task in self.epochs else ""
                table.add_row(escape(task), passes)
            table.add_row(f"  {escape(slot)}", "", *self._numbers(name))
        return table

    def _numbers(self, name: str) -> tuple[str, str, str, str]:
        """Of a loss or score: in training, in validation, best there, and when."""
        loss = self.losses.get(name)
        train = "" if loss is None else figure(loss)
        score = self.scores.get(name) or self.scores.get(f"{name}/loss")
        if score is None:
            return train, "", "", ""
        return train, figure(score.value), figure(score.best), str(score.step)

    def _names(self) -> list[str]:
        """Losses in training, and what only validation gives, task by task."""
        beside = {f"{name}/loss" for name in self.losses}
        return sorted([*self.losses, *(name for name in self.scores if name not in beside)])


def epochs(cursor: Mapping[str, int], rows: Mapping[str, int]) -> dict[str, float]:
    """Task -> passes over its rows, from how many samples of it were taken."""
    return {name: cursor.get(name, 0) / number for name, number in rows.items() if number}
