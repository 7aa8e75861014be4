"""What is learned from all clips before training: means, deviations, lengths, and skeletons, by numbers a frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ofa_modality_motion.skeleton import AnySkeleton, from_json, to_json
from ofa_modality_motion.trimming import Cut
from ofacore.protocols import Artifact

_FILE = "motion.json"
_SMALLEST_DEVIATION = 1e-4


@dataclass
class Signature:
    """Statistics of all clips with the same numbers a frame."""

    mean: np.ndarray
    """float64 [dims]."""
    deviation: np.ndarray
    """float64 [dims]; 1 where a number never changes."""
    lengths: Mapping[int, int]
    """Frames -> clips."""
    fps: float | None
    """Where all clips agree."""
    skeleton: AnySkeleton | None
    columns: frozenset[tuple[str, str]] = frozenset()
    """(task, column) of which most clips have this size; all others of the column are mistakes."""
    rated: Sequence[tuple[int, float | None, int]] = ()
    """(frames, their rate, clips) where the rates of clips differ."""

    def normalise(self, frames: np.ndarray) -> np.ndarray:
        """float32 [frames, dims] of about mean 0 and deviation 1; infinite where numbers are too large for it."""
        with np.errstate(over="ignore"):
            return ((frames - self.mean) / self.deviation).astype(np.float32)

    def restore(self, frames: np.ndarray) -> np.ndarray:
        """float64 [frames, dims] in the caller's units."""
        return frames.astype(np.float64) * self.deviation + self.mean

    def typical_length(self, cut: Cut) -> int:
        """Mean frames of the training clips as a slot cuts them."""
        alike = [(frames, self.fps, clips) for frames, clips in self.lengths.items()]
        total = sum(cut.length(frames, fps) * clips for frames, fps, clips in self.rated or alike)
        return round(total / sum(self.lengths.values()))


@dataclass
class Totals:
    """Running sums over clips, merged as Chan et al. 1979 do."""

    frames: int = 0
    mean: np.ndarray | None = None
    squares: np.ndarray | None = None
    lengths: Counter[int] = field(default_factory=Counter)
    rated: Counter[tuple[int, float | None]] = field(default_factory=Counter)
    skeleton: AnySkeleton | None = None

    def add(
        self, features: np.ndarray, length: int, fps: float | None, skeleton: AnySkeleton | None
    ) -> None:
        """One clip: features float64 [frames, dims]."""
        mean = features.mean(axis=0)
        squares = ((features - mean) ** 2).sum(axis=0)
        if self.mean is None or self.squares is None:
            self.mean, self.squares = mean, squares
        else:
            total, gap = self.frames + len(features), mean - self.mean
            self.squares += squares + gap**2 * self.frames * len(features) / total
            self.mean = self.mean + gap * len(features) / total
        self.frames += len(features)
        self.lengths[length] += 1
        self.rated[length, fps] += 1
        self.skeleton = self.skeleton or skeleton

    def json(self, columns: Iterable[tuple[str, str]]) -> dict[str, object]:
        """Plain data for the artifact, with the columns whose clips have this size."""
        if self.mean is None or self.squares is None:
            raise ValueError("no clip was added")
        deviation = np.sqrt(self.squares / self.frames)
        deviation[deviation < _SMALLEST_DEVIATION] = 1.0
        rates = {fps for _, fps in self.rated}
        stored = {
            "mean": [round(number, 9) for number in self.mean.tolist()],
            "deviation": [round(number, 9) for number in deviation.tolist()],
            "lengths": {str(length): clips for length, clips in sorted(self.lengths.items())},
            "fps": next(iter(rates)) if len(rates) == 1 else None,
            "skeleton": to_json(self.skeleton),
            "columns": sorted(map(list, columns)),
        }
        if len(rates) > 1:
            rows = [[length, fps, clips] for (length, fps), clips in self.rated.items()]
            stored["rated"] = sorted(rows, key=lambda row: (row[0], row[1] or 0.0))
        return stored


Sizes = Mapping[tuple[str, str], Counter[int]]
"""(task, column) -> numbers a frame -> clips."""


def to_artifact(totals: Mapping[int, Totals], sizes: Sizes) -> Artifact:
    """One JSON file with the statistics by numbers a frame, and which columns have clips of which size."""
    usual = {column: _usual(counts) for column, counts in sizes.items()}
    stored = {}
    for dims in sorted(totals):
        columns = [column for column, size in usual.items() if size == dims]
        stored[str(dims)] = totals[dims].json(columns)
    return Artifact.of_json(_FILE, stored)


def _usual(counts: Counter[int]) -> int | None:
    """The size of a column's clips; None where clips of several sizes are meant, not mistaken.

    Other sizes are mistakes where a single clip, or at most a tenth of all, has them.
    """
    (size, most), *_ = counts.most_common(1)
    others = counts.total() - most
    return size if others < most and others <= max(1, counts.total() // 10) else None


def joined(before: Artifact | None, more: Artifact | None) -> Artifact | None:
    """Statistics of both; the first ones stay as they are, and get the columns of the others."""
    if before is None or more is None:
        return before or more
    found: Any = {}
    old: Any = before.json(_FILE)
    new: Any = more.json(_FILE)
    for dims, own in {**new, **old}.items():
        columns = [*own.get("columns", ()), *new.get(dims, {}).get("columns", ())]
        found[dims] = {**own, "columns": list(dict.fromkeys(map(tuple, columns)))}
    return Artifact.of_json(_FILE, found)


def from_artifact(artifact: Artifact | None) -> dict[int, Signature]:
    """Numbers a frame -> statistics; empty without an artifact."""
    stored = artifact.json(_FILE) if artifact else {}
    return {int(dims): _signature(data) for dims, data in stored.items()}  # type: ignore[attr-defined]


def _signature(data: Mapping[str, object]) -> Signature:
    lengths = {int(length): int(clips) for length, clips in data["lengths"].items()}  # type: ignore[attr-defined]
    mean, deviation = np.array(data["mean"]), np.array(data["deviation"])
    columns = frozenset((task, column) for task, column in data.get("columns", ()))  # type: ignore[attr-defined]
    rated = [(int(length), fps, int(clips)) for length, fps, clips in data.get("rated", ())]  # type: ignore[attr-defined]
    skeleton = from_json(data["skeleton"])  # type: ignore[arg-type]
    return Signature(mean, deviation, lengths, data["fps"], skeleton, columns, rated)  # type: ignore[arg-type]
