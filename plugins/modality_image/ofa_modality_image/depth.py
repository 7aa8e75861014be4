"""Grey values of more than 8 bits, and numbers with a point, to 8 bits: by what the file says of their range.

A range is never guessed from one picture's own values: two pictures of one data set would come out differently bright.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

_SMALLEST, _LARGEST = 340, 341
"""TIFF tags SMinSampleValue and SMaxSampleValue: which values are black and white."""
_SIXTEEN_BIT_FORMATS = ("PNG", "PPM", "JPEG2000")
"""Formats whose 32-bit mode only ever carries 16 bits."""
_SUSPICIOUS = 2**12
"""Values below it use a sixteenth of 16 bits: most likely 12 bits, which 16 would make nearly black."""


class DepthError(ValueError):
    """Nothing says which values are black and white."""


def is_deep(image: Image.Image) -> bool:
    """Whether a picture has grey values of more than 8 bits or with a point."""
    return image.mode.startswith(("I", "F"))


def grey_of(image: Image.Image, depth: int | None) -> Image.Image:
    """The picture in mode L.

    Args:
        image: A picture of which `is_deep` is true.
        depth: Bits of a value, where the user says so: 2**depth - 1 is white.

    Raises:
        DepthError: The range is not known, or values lie outside of it.
    """
    values = np.asarray(image)
    black, white = _range(image, values, depth)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite(values).all():
        raise DepthError("it has values that are not finite")
    if low < black or high > white:
        raise DepthError(
            f"its values go from {low:g} to {high:g}, but black is {black:g} and white {white:g}"
        )
    shares = (values.astype(np.float64) - black) / (white - black)
    grey = np.rint(shares * 255).astype(np.uint8)
    if "transparency" in image.info and isinstance(image.info["transparency"], int):
        grey = np.where(values == image.info["transparency"], np.uint8(255), grey)
    return Image.fromarray(grey)


def _range(image: Image.Image, values: np.ndarray, depth: int | None) -> tuple[float, float]:
    """Values of black and of white."""
    if depth is not None:
        return 0.0, float(2**depth - 1)
    said = _said_by_tags(image)
    if said is not None:
        return said
    if image.mode == "F":
        return _range_of_floats(values)
    if image.mode.startswith("I;16") or image.format in _SIXTEEN_BIT_FORMATS:
        return _range_of_16_bits(values)
    raise DepthError(
        f"it holds integers of 32 bits from {values.min()} to {values.max()}, and nothing says which is white; "
        "write depth= (bits of a value), or save it with 8 or 16 bits"
    )


def _range_of_floats(values: np.ndarray) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    raise DepthError(
        f"its numbers go from {low:g} to {high:g}, where 0 is black and 1 is white; "
        "write depth= (8 where 255 is white), or scale it"
    )


def _range_of_16_bits(values: np.ndarray) -> tuple[float, float]:
    largest = int(values.max())
    if 0 < largest < _SUSPICIOUS:
        bits = 8 if largest < 2**8 else max(10, largest.bit_length())
        raise DepthError(
            f"its largest value is {largest} of 65535, so it is nearly black, or holds fewer bits; "
            f"write depth={bits} where {2**bits - 1} is white, or depth=16 where it is as dark as that"
        )
    return 0.0, 65535.0


def _said_by_tags(image: Image.Image) -> tuple[float, float] | None:
    """Black and white as the tags of a TIFF give them."""
    tags: Any = getattr(image, "tag_v2", None)
    if tags is None or _LARGEST not in tags:
        return None
    low, high = _first(tags.get(_SMALLEST, 0)), _first(tags[_LARGEST])
    return (low, high) if high > low else None


def _first(value: Any) -> float:
    first = value[0] if isinstance(value, tuple) else value
    return float(first)
