"""What is learned from sounds before training: means and deviations of each kind of features, and their lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofacore.protocols import Artifact

FILE = "audio.json"
ANY = "any"
"""Statistics of all features of an imported model, which goes on with what it was trained on."""
_SMALLEST_DEVIATION = 1e-3


@dataclass(frozen=True)
class Statistics:
    """Of all training frames of one kind."""

    mean: np.ndarray
    """float64 [bins]."""
    deviation: np.ndarray
    """float64 [bins]."""
    length: float
    """Mean frames of a clip."""

    def normalise(self, frames: np.ndarray) -> np.ndarray:
        """float32 [frames, bins] of about mean 0 and deviation 1."""
        return ((frames - self.mean) / self.deviation).astype(np.float32)

    def restore(self, frames: np.ndarray) -> np.ndarray:
        """float32 [frames, bins] as they were before."""
        return (frames.astype(np.float64) * self.deviation + self.mean).astype(np.float32)


def of_one(frames: np.ndarray) -> Statistics:
    """Those of a single clip, for normalisation by utterance."""
    wide = frames.astype(np.float64)
    return Statistics(wide.mean(axis=0), _floored(wide.std(axis=0)), len(frames))


def _floored(deviation: np.ndarray) -> np.ndarray:
    """1 where a number hardly ever changes, as in silence."""
    return np.where(deviation < _SMALLEST_DEVIATION, 1.0, deviation)


@dataclass
class Totals:
    """Running sums over clips."""

    clips: int = 0
    frames: int = 0
    total: Any = 0.0
    squares: Any = 0.0

    def add(self, frames: np.ndarray) -> None:
        """One clip [frames, bins]."""
        wide = frames.astype(np.float64)
        self.clips += 1
        self.frames += len(wide)
        self.total = self.total + wide.sum(axis=0)
        self.squares = self.squares + (wide**2).sum(axis=0)

    def json(self) -> dict[str, object]:
        """Plain data for the artifact."""
        mean = self.total / self.frames
        variance = np.maximum(self.squares / self.frames - mean**2, 0.0)
        deviation = _floored(np.sqrt(variance))
        return {
            "mean": [round(number, 9) for number in mean.tolist()],
            "deviation": [round(number, 9) for number in deviation.tolist()],
            "length": self.frames / self.clips,
        }


def to_artifact(totals: Mapping[str, Totals]) -> Artifact | None:
    """One JSON file; None where no clip could be used."""
    if not totals:
        return None
    return Artifact.of_json(FILE, {kind: totals[kind].json() for kind in sorted(totals)})


def joined(before: Artifact | None, more: Artifact | None) -> Artifact | None:
    """Statistics of both; the first ones stay as they are."""
    if before is None or more is None:
        return before or more
    old: Any = before.json(FILE)
    new: Any = more.json(FILE)
    return Artifact.of_json(FILE, {**new, **old}) if new.keys() - old.keys() else before


def from_artifact(artifact: Artifact | None) -> dict[str, Statistics]:
    """Kind of features -> its statistics; empty without an artifact."""
    stored: Any = {} if artifact is None else artifact.json(FILE)
    return {kind: _statistics(data) for kind, data in stored.items()}


def _statistics(data: Mapping[str, Any]) -> Statistics:
    mean, deviation = np.array(data["mean"]), np.array(data["deviation"])
    return Statistics(mean, deviation, float(data["length"]))
