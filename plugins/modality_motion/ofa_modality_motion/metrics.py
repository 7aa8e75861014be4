"""How near generated motion comes to the real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ofa_modality_motion.clip import Clip, load_clip
from ofa_modality_motion.kinematics import comparable_frames, pose_frames
from ofacore.protocols import Options

_SMALLEST_SPREAD = 1e-3


class MotionMse:
    """``motion_mse``: mean squared error over the frames that prediction and reference share.

    In the caller's units; where the skeleton has rotations, of the places of all joints. Of several references the
    nearest counts.
    """

    higher_is_better: ClassVar[bool] = False

    def __init__(self, options: Options) -> None:
        self._errors: list[float] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add pairs of clips.

        Raises:
            ValueError: A pair with different numbers a frame.
        """
        for prediction, reference in zip(predictions, references, strict=True):
            ours = _comparable(prediction, "prediction")
            self._errors.append(min(_error(ours, one) for one in _several(reference)))

    def compute(self) -> dict[str, float]:
        """``mse``; nan where nothing was added."""
        return {"mse": float(np.mean(self._errors)) if self._errors else float("nan")}

    def merge(self, other: MotionMse) -> None:
        """Add what another instance has seen."""
        self._errors += other._errors

    def items(self) -> Sequence[float]:
        """The error of each pair."""
        return self._errors


class MotionRetrieval:
    """``motion_retrieval``: how often the real clip nearest to a generated one has the label that was asked for.

    Two clips are as far apart as their poses: the mean distance from each frame of one to the nearest frame of the
    other, both ways, every number in units of its deviation over the references. So lengths and phases do not matter.
    Option ``label`` names the column with the label.
    """

    higher_is_better: ClassVar[bool] = True

    def __init__(self, options: Options) -> None:
        self._column = str(options.get("label", "label"))
        self._ours: list[np.ndarray] = []
        self._theirs: list[np.ndarray] = []
        self._labels: list[str] = []

    def update(
        self,
        predictions: Sequence[Any],
        references: Sequence[Any],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add generated clips, real ones, and the rows with their labels.

        Raises:
            ValueError: A row has no label.
        """
        for prediction, reference, row in zip(predictions, references, rows, strict=True):
            if row.get(self._column) is None:
                columns = ", ".join(row)
                raise ValueError(
                    f"motion_retrieval: a row has no column '{self._column}' but {columns}; set option label"
                )
            ours, theirs = load_clip(prediction, "prediction"), load_clip(reference, "reference")
            self._ours.append(pose_frames(ours.frames, ours.skeleton))
            self._theirs.append(pose_frames(theirs.frames, theirs.skeleton))
            self._labels.append(str(row[self._column]))

    def compute(self) -> dict[str, float]:
        """``retrieval``: share of hits; nan where nothing was added."""
        hits = self.items()
        return {"retrieval": float(np.mean(hits)) if hits else float("nan")}

    def merge(self, other: MotionRetrieval) -> None:
        """Add what another instance has seen."""
        self._ours += other._ours
        self._theirs += other._theirs
        self._labels += other._labels

    def items(self) -> Sequence[float]:
        """1 for a hit, 0 for a miss, of each generated clip.

        Raises:
            ValueError: Clips with different numbers a frame.
        """
        sizes = sorted({clip.shape[1] for clip in (*self._ours, *self._theirs)})
        if len(sizes) > 1:
            raise ValueError(
                f"motion_retrieval: clips of {' and '.join(map(str, sizes))} numbers a frame do not compare"
            )
        if not self._labels:
            return []
        spread = np.concatenate(self._theirs).std(axis=0)
        spread[spread < _SMALLEST_SPREAD] = 1.0
        gallery = [clip / spread for clip in self._theirs]
        nearest = [_nearest(ours / spread, gallery) for ours in self._ours]
        return [
            float(self._labels[found] == label)
            for found, label in zip(nearest, self._labels, strict=True)
        ]


def _error(ours: np.ndarray, reference: Any) -> float:
    theirs = _comparable(reference, "reference")
    if ours.shape[1] != theirs.shape[1]:
        raise ValueError(
            f"motion_mse: a prediction of {ours.shape[1]} numbers a frame, a reference of {theirs.shape[1]}"
        )
    shared = min(len(ours), len(theirs))
    return float(((ours[:shared] - theirs[:shared]) ** 2).mean())


def _several(reference: Any) -> list[Any]:
    """A clip or a list of them, as a list; a list of frames is one clip."""
    listed = isinstance(reference, list) and bool(reference)
    return reference if listed and all(map(_is_whole, reference)) else [reference]


def _is_whole(value: Any) -> bool:
    """Whether a value is a clip, and no frame of one."""
    if isinstance(value, np.ndarray):
        return value.ndim > 1
    return isinstance(value, Clip | Mapping | str | Path | bytes)


def _apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Chamfer distance of two sets of frames."""
    squares = (ours**2).sum(axis=1)[:, None] + (theirs**2).sum(axis=1) - 2 * ours @ theirs.T
    distances = np.sqrt(np.maximum(squares, 0.0))
    return float(distances.min(axis=1).mean() + distances.min(axis=0).mean())


def _nearest(clip: np.ndarray, gallery: Sequence[np.ndarray]) -> int:
    """The place of what is the least apart from a clip."""
    distances = [_apart(clip, other) for other in gallery]
    return int(np.argmin(distances))


def _comparable(value: Any, column: str) -> np.ndarray:
    clip = load_clip(value, column)
    return comparable_frames(clip.frames, clip.skeleton)
