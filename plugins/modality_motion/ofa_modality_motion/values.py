"""Which Python values are motion clips, decided without reading them or importing a library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

ENDINGS = (".npy", ".npz", ".bvh")


def is_motion(value: Any) -> bool:
    """True for one clip: array or nested list [frames, dims], path or content of a file, or a dict with ``frames``."""
    if isinstance(value, Mapping):
        return "frames" in value
    if isinstance(value, (str, bytes, bytearray, Path)):
        return True
    if hasattr(value, "ndim"):
        return bool(value.ndim == 2)
    return _is_nested(value)


def _is_nested(value: Any) -> bool:
    """A list of frames, each a list of numbers."""
    if not isinstance(value, (list, tuple)) or not value or not isinstance(value[0], (list, tuple)):
        return False
    return bool(value[0]) and isinstance(value[0][0], (int, float))
