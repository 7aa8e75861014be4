"""Types of what slots publish that several plugins know. Public through `ofacore.parts`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class PlaneView:
    """What the model sees of a value that lies on a plane: a part of it, scaled, mirrored or turned.

    Published by whoever cut the value, so that others can bring what belongs to it (boxes, points) into the view.
    """

    size: tuple[float, float]
    """(width, height) of the original."""
    affine: np.ndarray
    """float64 [2, 3]: a place (x, y, 1) of the original -> the place (x, y) in the view."""
    view: tuple[float, float]
    """(width, height) of the view, in its own cells."""
    original: Any = None
    """What to draw on, upright, of PIL; None where there is none."""
    turned: bool = False
    """The original was turned as its file asks."""


@dataclass(frozen=True)
class AskedValues:
    """How a value that is asked for looks: published by preprocessors for the generator ``one_shot``."""

    width: int
    """Numbers at each position."""
    shape: tuple[int, ...] = ()
    """Of its segment; empty: (length,)."""
