"""Which Python values are sounds and texts of phonemes, decided without reading them or importing a library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_KEYS = ("array", "bytes", "path", "frames")


def is_audio(value: Any) -> bool:
    """True for one sound: path or content of a file, a dict, a pair (array, rate), an array, or an audio decoder."""
    if isinstance(value, Mapping):
        return any(value.get(key) is not None for key in _KEYS)
    if isinstance(value, (str, bytes, bytearray, Path)):
        return True
    if isinstance(value, tuple):
        return len(value) == 2 and hasattr(value[0], "ndim") and isinstance(value[1], (int, float))
    if hasattr(value, "ndim"):
        return bool(value.ndim in (1, 2))
    return hasattr(value, "get_all_samples") or _is_series(value)


def is_text(value: Any) -> bool:
    """True for one text."""
    return isinstance(value, str)


def _is_series(value: Any) -> bool:
    """A list of frames, each a list of numbers."""
    if not isinstance(value, list) or not value or not isinstance(value[0], (list, tuple)):
        return False
    return bool(value[0]) and isinstance(value[0][0], (int, float))
