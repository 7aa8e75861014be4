"""Which Python values are pictures, decided without importing a library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def is_image(value: Any) -> bool:
    """True for one picture: path, base64 or data URI, bytes, PIL image, an array [height, width(, channels)], or a
    dict ``bytes``, ``path``."""
    if isinstance(value, (str, bytes, bytearray, Path)):
        return True
    if isinstance(value, Mapping):
        return "bytes" in value or "path" in value
    if hasattr(value, "ndim"):
        return value.ndim in (2, 3)
    return hasattr(value, "getpixel") and hasattr(value, "convert")
