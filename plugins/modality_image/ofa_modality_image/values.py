"""Which Python values are pictures, decided without importing a library."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def is_image(value: Any) -> bool:
    """True for one picture: path, base64 or data URI, bytes, PIL image, or an array [height, width(, channels)]."""
    if isinstance(value, (str, bytes, bytearray, Path)):
        return True
    if hasattr(value, "ndim"):
        return value.ndim in (2, 3)
    return hasattr(value, "getpixel") and hasattr(value, "convert")
