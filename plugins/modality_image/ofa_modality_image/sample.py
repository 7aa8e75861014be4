"""A picture for checks and documentation."""

from __future__ import annotations

import numpy as np
from PIL import Image


def picture() -> Image.Image:
    """RGB picture of 48 x 32 pixels: red grows to the right, green downwards, a blue square in the middle."""
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, 48).astype(np.uint8)
    pixels[..., 1] = np.linspace(0, 255, 32).astype(np.uint8)[:, None]
    pixels[12:20, 20:28, 2] = 255
    return Image.fromarray(pixels)
