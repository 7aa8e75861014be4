"""One motion clip, from any accepted value."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ofa_modality_motion.bvh import decoded, read_bvh, read_bvh_file, read_bvh_skeleton
from ofa_modality_motion.skeleton import AnySkeleton, PointSkeleton, Skeleton, from_json
from ofa_modality_motion.values import ENDINGS
from ofacore.protocols import RowError, excerpt

ACCEPTED = (
    "an array [frames, dims], a path ending in .npy, .npz or .bvh, the content of such a file, "
    "or a dict with 'frames', 'fps', 'skeleton'"
)
_KEYS = ("frames", "motion")
_NUMPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"
_NUMBERS = "fiubUO"
"""Kinds of numpy that hold numbers, or text and objects that may be some."""
_LONGEST_REASON = 160
_DAMAGE = (ValueError, OSError, EOFError, KeyError, MemoryError, zipfile.BadZipFile)


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
    if isinstance(value, (bytes, bytearray)):
        return _from_content(bytes(value), column)
    if isinstance(value, Mapping):
        return _from_mapping(value, column)
    return Clip(_frames(value, column, "value"))


def _from_file(path: Path, column: str) -> Clip:
    if path.suffix.lower() not in ENDINGS:
        shown = _short(str(path))
        raise RowError(f"column '{column}': '{shown}' is no motion file; expected {ACCEPTED}")
    if not os.path.isfile(path):  # not Path.is_file, which fails on names that are too long
        place = "" if path.is_absolute() else f" below {Path.cwd()}"
        problem = (
            f"'{path}' is a folder"
            if os.path.isdir(path)
            else f"no file {excerpt(str(path))}{place}"
        )
        raise RowError(f"column '{column}': {problem}")
    try:
        if path.suffix.lower() == ".bvh":
            return _from_bvh(read_bvh_file(path), column, str(path))
        with path.open("rb") as file:
            return _from_numpy(file, column, str(path))
    except _DAMAGE as error:
        if isinstance(error, RowError):
            raise
        raise RowError(
            f"column '{column}': '{path}' cannot be read ({_short(str(error))})"
        ) from error


def _from_content(content: bytes, column: str) -> Clip:
    """The clip of a file that stands in the row itself."""
    name = f"the content of {len(content)} bytes"
    try:
        if content.startswith((_NUMPY, _ZIP)):
            return _from_numpy(io.BytesIO(content), column, name)
        text = decoded(content[:100]).lstrip()
        if text.upper().startswith("HIERARCHY"):
            return _from_bvh(read_bvh(decoded(content), f"column '{column}'"), column, name)
    except _DAMAGE as error:
        if isinstance(error, RowError):
            raise
        raise RowError(
            f"column '{column}': {name} cannot be read ({_short(str(error))})"
        ) from error
    raise RowError(f"column '{column}': {name} is no .npy, .npz or .bvh; expected {ACCEPTED}")


def _from_bvh(read: tuple[Skeleton, np.ndarray, float], column: str, name: str) -> Clip:
    skeleton, frames, fps = read
    if not len(frames):
        raise RowError(f"column '{column}': '{name}' has a skeleton but no frames")
    return Clip(_frames(frames, column, name), fps, skeleton)


def _from_numpy(file: BinaryIO, column: str, path: str) -> Clip:
    try:
        loaded = np.load(file, allow_pickle=False)
    except ValueError as error:
        raise ValueError(
            "it holds no plain array of numbers; write it with numpy.save(path, frames)"
        ) from error
    if isinstance(loaded, np.ndarray):
        return Clip(_frames(loaded, column, path))
    with loaded:
        names = list(loaded)
        only = names[0] if len(names) == 1 else None
        name = next((key for key in _KEYS if key in names), only)
        if name is None:
            listed = _short(", ".join(names)) or "none"
            raise RowError(
                f"column '{column}': '{path}' has arrays {listed}; name one of them 'frames'"
            )
        fps = _rate(loaded["fps"], column) if "fps" in names else None
        known = next((loaded[key] for key in ("known", "weights") if key in names), None)
        frames = _frames(loaded[name], column, path)
    return Clip(frames, fps, None, _known(known, frames, column))


def _rate(value: Any, column: str) -> float | None:
    """Frames per second, from a number or an array of one; None for None."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0].item()
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:
        raise RowError(f"column '{column}': fps={_short(repr(value))} must be a positive number")
    return float(value)


def _from_mapping(value: Mapping[str, Any], column: str) -> Clip:
    if "frames" not in value:
        keys = _short(", ".join(map(repr, value))) or "nothing"
        raise RowError(f"column '{column}': a dict with {keys} is no clip; expected {ACCEPTED}")
    fps = _rate(value.get("fps"), column)
    frames = _frames(value["frames"], column, "value")
    skeleton = _skeleton(value.get("skeleton"), frames.shape[1], column)
    return Clip(frames, fps, skeleton, _known(value.get("known"), frames, column))


def _skeleton(value: Any, dims: int, column: str) -> AnySkeleton | None:
    try:
        if isinstance(value, (str, Path)):
            value = read_bvh_skeleton(Path(value))
        skeleton = value if isinstance(value, (Skeleton, PointSkeleton)) else from_json(value)
    except (ValueError, TypeError, AttributeError, KeyError, OSError) as error:
        raise RowError(
            f"column '{column}': the skeleton cannot be used ({_short(str(error))})"
        ) from error
    _fits(skeleton, dims, column)
    return skeleton


def _fits(skeleton: AnySkeleton | None, dims: int, column: str) -> None:
    if isinstance(skeleton, Skeleton) and skeleton.channels != dims:
        raise RowError(
            f"column '{column}': {dims} numbers a frame for a skeleton of {skeleton.channels} channels"
        )
    if isinstance(skeleton, PointSkeleton):
        points = 1 + max((max(bone) for bone in skeleton.bones), default=0)
        if skeleton.axes not in (2, 3) or dims % skeleton.axes or points * skeleton.axes > dims:
            raise RowError(
                f"column '{column}': {dims} numbers a frame are not {points} points of {skeleton.axes} axes"
            )


def _frames(value: Any, column: str, name: str) -> np.ndarray:
    try:
        found = np.asarray(value)
        if found.dtype.kind not in _NUMBERS:
            raise TypeError(f"it holds {found.dtype}, not numbers")
        frames = found.astype(np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        uneven = "inhomogeneous" in str(error)
        reason = "its frames have unequal numbers of numbers" if uneven else _short(str(error))
        raise RowError(
            f"column '{column}': {name} is no clip ({reason}); expected {ACCEPTED}"
        ) from error
    if frames.ndim == 3 and frames.size:
        shape, dims = list(frames.shape), frames.shape[1] * frames.shape[2]
        remedy = f"give [frames, points * axes]: frames.reshape({len(frames)}, {dims})"
        raise RowError(f"column '{column}': {name} has shape {shape}; {remedy}")
    if frames.ndim != 2 or frames.size == 0:
        raise RowError(
            f"column '{column}': {name} has shape {list(frames.shape)}, expected [frames, dims]"
        )
    bad = np.argwhere(~np.isfinite(frames))
    if len(bad):
        frame, place = bad[0].tolist()
        where = f"the first is number {place} of frame {frame}"
        raise RowError(
            f"column '{column}': {name} has {len(bad)} numbers that are not finite; {where}"
        )
    return frames


def _known(value: Any, frames: np.ndarray, column: str) -> np.ndarray | None:
    if value is None:
        return None
    found = np.asarray(value)
    if found.dtype.kind not in "fiub" or found.shape != (len(frames),):
        what = f"shape {list(found.shape)} of {found.dtype}"
        raise RowError(
            f"column '{column}': 'known' has {what} for {len(frames)} frames; one number a frame"
        )
    return found > 0


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + "..."
