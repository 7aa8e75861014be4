"""Means and standard deviations that pixels are normalised with; features carry the index of one."""

from __future__ import annotations

STATISTICS: tuple[str, ...] = ("half", "imagenet", "given")
"""``given``: pixels are normalised already."""
LARGEST: tuple[float, ...] = (255.0, 255.0, 1.0)
"""Pixel value that counts as 1."""
MEANS: tuple[tuple[float, float, float], ...] = (
    (0.5, 0.5, 0.5),
    (0.485, 0.456, 0.406),
    (0.0, 0.0, 0.0),
)
DEVIATIONS: tuple[tuple[float, float, float], ...] = (
    (0.5, 0.5, 0.5),
    (0.229, 0.224, 0.225),
    (1.0, 1.0, 1.0),
)
"""RGB in 0 to 1, in the order of ``STATISTICS``."""
