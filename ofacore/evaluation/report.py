"""What is told of a scored task: a line for each score, and samples as a person would look at them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any

from ofacore.ground.figures import figure


@dataclass(frozen=True)
class ScoreRow:
    """A task's line in the table of scores."""

    task: str
    metric: str
    score: float
    low: float
    high: float
    """Ends of the 95 % interval: of a share Wilson's, of all else the bootstrap's."""
    baseline: float | None
    baseline_doc: str
    samples: int
    higher_is_better: bool = True
    problem: str = ""
    """Why there is no score; empty where there is one."""
    left_out: int = 0
    """Rows that could not be judged: they have no reference, or cannot be used."""
    slot: str = ""
    """What is judged."""
    available: int = 0
    """Rows of the split; 0: not known."""
    checkpoint: str = ""
    """Which weights were scored, of a run: the folder of the checkpoint."""
    items: tuple[float, ...] = field(default=(), repr=False, compare=False)
    """The score of each judged row, where it is their mean."""

    @property
    def rows(self) -> str:
        """How many rows were judged, of how many, and how many could not be."""
        tried = self.samples + self.left_out
        told = f"{self.samples:,}"
        if self.available > tried:
            told += f" of {self.available:,}"
        return f"{told} ({self.left_out:,} left out)" if self.left_out else told

    @property
    def beats_baseline(self) -> bool | None:
        """Whether the interval excludes the baseline on the good side; None without a baseline or a score."""
        if self.baseline is None or self.problem:
            return None
        return self.low > self.baseline if self.higher_is_better else self.high < self.baseline

    @property
    def verdict(self) -> str:
        """Beside the baseline: ``better``, ``worse``, or ``not told apart`` where the interval holds it; or nothing."""
        if self.beats_baseline is None or not (isfinite(self.low) and isfinite(self.high)):
            return ""
        if self.beats_baseline:
            return "better"
        held = self.low <= (self.baseline or 0.0) <= self.high
        return "not told apart" if held else "worse"

    @property
    def told_baseline(self) -> str:
        """The baseline's score and what it does; empty without one."""
        return "" if self.baseline is None else f"{figure(self.baseline)} ({self.baseline_doc})"

    def plain(self) -> dict[str, Any]:
        """As JSON has it: numbers that are not finite are null."""
        names = [each.name for each in fields(self) if each.name != "items"]
        values = {name: getattr(self, name) for name in names}
        return {
            k: None if isinstance(v, float) and not isfinite(v) else v for k, v in values.items()
        }


@dataclass(frozen=True)
class Sample:
    """A held-out row with the model's answer, as HTML fragments."""

    task: str
    instruction: str
    inputs: str
    answer: str
    reference: str
    note: str = ""
    """Of one of the worst answers: which row it is, and what is wrong with it; empty of one that was not sought out."""
