"""Which Python values are videos, decided without reading them or importing a library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_KEYS = ("bytes", "path", "frames")


@dataclass(frozen=True, eq=False)
class FramedClip:
    """The frames of a clip that the model sees, cut and resized: what the row transform puts in place of a video."""

    pictures: tuple[Any, ...]
    """PIL pictures, one for each frame, in order."""
    seed: int
    """What changes the frames at random draws from it, so that all frames change alike."""
    others: Mapping[int, FramedClip] = field(default_factory=dict)
    """Position of a slot that sees other frames of the same column -> those."""


def is_video(value: Any) -> bool:
    """True for one clip: path or content of a file, folder, array [frames, height, width(, channels)], list of
    pictures, or a dict with ``path``, ``bytes`` or ``frames``."""
    if isinstance(value, (str, bytes, bytearray, Path, FramedClip)):
        return True
    if isinstance(value, Mapping):
        return any(key in value for key in _KEYS)
    if hasattr(value, "ndim"):
        return value.ndim in (3, 4)
    return isinstance(value, (list, tuple)) and bool(value) and all(map(_is_picture, value))


def _is_picture(value: Any) -> bool:
    """A picture of PIL, or an array that can be no clip of its own."""
    if hasattr(value, "ndim"):
        return value.ndim == 2 or (value.ndim == 3 and value.shape[2] in (1, 3, 4))
    return hasattr(value, "getpixel") and hasattr(value, "convert")
