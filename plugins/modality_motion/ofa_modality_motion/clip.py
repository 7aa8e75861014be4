"""One motion clip, from any accepted value."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ofa_modality_motion.bvh import read_bvh_file
from ofa_modality_motion.skeleton import AnySkeleton, PointSkeleton, Skeleton, from_json
from ofa_modality_motion.values import ENDINGS
from ofacore.protocols import RowError, excerpt, listing

ACCEPTED = "an array [frames, dims], a path ending in .npy, .npz or .bvh, or a dict with 'frames', 'fps', 'skeleton'"
_KEYS = ("frames", "motion")


@dataclass(frozen=True)
class Clip:
    """Frames in the caller's units."""

    frames: np.ndarray
    """float64 [frames, dims]."""
    fps: float | None = None
    """Frames per second, where known."""
    skeleton: AnySkeleton | None = None
    known: np.ndarray | None = None
    """bool [frames]: given frames between which a model fills in; None: all alike."""

    @property
    def dims(self) -> int:
        return int(self.frames.shape[1])


def load_clip(value: Any, column: str) -> Clip:
    """The clip that a value stands for.

    Raises:
        RowError: The value is no clip or the file is missing or damaged; the message names column and file.
    """
    if isinstance(value, Clip):
        return value
    if isinstance(value, (str, Path)):
        return _from_file(Path(value), column)
    if isinstance(value, Mapping):
        return _from_mapping(value, column)
    return Clip(_frames(value, column, "value"))


def _from_file(path: Path, column: str) -> Clip:
    if path.suffix.lower() not in ENDINGS:
        raise RowError(f"column '{column}': {excerpt(str(path))} is no motion file; expected {ACCEPTED}")
    if not os.path.isfile(path):  # not Path.is_file, which fails on names that are too long
        place = "" if path.is_absolute() else f" below {Path.cwd()}"
        problem = f"'{path}' is a folder" if os.path.isdir(path) else f"no file {excerpt(str(path))}{place}"
        raise RowError(f"column '{column}': {problem}")
    try:
        if path.suffix.lower() == ".bvh":
            skeleton, frames, fps = read_bvh_file(path)
            return Clip(_frames(frames, column, path), fps, skeleton)
        return _from_numpy(path, column)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, RowError):
            raise
        raise RowError(f"column '{column}': '{path}' cannot be read ({error})") from error


def _from_numpy(path: Path, column: str) -> Clip:
    try:
        loaded = np.load(path, allow_pickle=False)
    except ValueError as error:
        raise ValueError("it holds no plain array of numbers; write it with numpy.save(path, frames)") from error
    if isinstance(loaded, np.ndarray):
        return Clip(_frames(loaded, column, path))
    with loaded:
        names = list(loaded)
        name = next((key for key in _KEYS if key in names), names[0] if len(names) == 1 else None)
        if name is None:
            raise RowError(f"column '{column}': '{path}' has arrays {', '.join(names)}; name one of them 'frames'")
        fps = float(loaded["fps"]) if "fps" in names else None
        known = next((loaded[key] for key in ("known", "weights") if key in names), None)
        frames = _frames(loaded[name], column, path)
    return Clip(frames, fps, None, _known(known, frames, column))


def _from_mapping(value: Mapping[str, Any], column: str) -> Clip:
    if "frames" not in value:
        raise RowError(f"column '{column}': a dict with {listing(map(repr, value))} is no clip; expected {ACCEPTED}")
    fps = value.get("fps")
    if fps is not None and not (isinstance(fps, (int, float)) and fps > 0):
        raise RowError(f"column '{column}': fps={excerpt(fps)} must be a positive number")
    frames = _frames(value["frames"], column, "value")
    skeleton = _skeleton(value.get("skeleton"), frames.shape[1], column)
    return Clip(frames, fps, skeleton, _known(value.get("known"), frames, column))


def _skeleton(value: Any, dims: int, column: str) -> AnySkeleton | None:
    try:
        if isinstance(value, (str, Path)):
            value = read_bvh_file(Path(value))[0]
        skeleton = value if isinstance(value, (Skeleton, PointSkeleton)) else from_json(value)
    except (ValueError, TypeError, AttributeError, KeyError, OSError) as error:
        raise RowError(f"column '{column}': the skeleton cannot be used ({error})") from error
    _fits(skeleton, dims, column)
    return skeleton


def _fits(skeleton: AnySkeleton | None, dims: int, column: str) -> None:
    if isinstance(skeleton, Skeleton) and skeleton.channels != dims:
        raise RowError(f"column '{column}': {dims} numbers a frame for a skeleton of {skeleton.channels} channels")
    if isinstance(skeleton, PointSkeleton):
        points = 1 + max((max(bone) for bone in skeleton.bones), default=0)
        if skeleton.axes not in (2, 3) or dims % skeleton.axes or points * skeleton.axes > dims:
            raise RowError(f"column '{column}': {dims} numbers a frame are not {points} points of {skeleton.axes} axes")


def _frames(value: Any, column: str, name: Path | str) -> np.ndarray:
    try:
        frames = np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError) as error:
        uneven = "inhomogeneous" in str(error)
        reason = "its frames have unequal numbers of numbers" if uneven else f"it is {excerpt(value)}"
        raise RowError(f"column '{column}': {name} is no clip ({reason}); expected {ACCEPTED}") from error
    if frames.ndim != 2 or frames.size == 0:
        raise RowError(f"column '{column}': {name} has shape {list(frames.shape)}, expected [frames, dims]")
    if not np.isfinite(frames).all():
        raise RowError(f"column '{column}': {name} has numbers that are not finite")
    return frames


def _known(value: Any, frames: np.ndarray, column: str) -> np.ndarray | None:
    if value is None:
        return None
    known = np.asarray(value) > 0
    if known.shape != (len(frames),):
        raise RowError(f"column '{column}': 'known' has shape {list(known.shape)} for {len(frames)} frames")
    return known
