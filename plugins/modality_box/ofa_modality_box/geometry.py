"""Where a box lies in what the model sees of an image."""

from __future__ import annotations

from dataclasses import dataclass

from ofa_modality_box.values import Corners, Frame
from ofacore.parts import PlaneView
from ofacore.protocols import Published, RowError

Size = tuple[float, float]
_ROUNDING = 0.02
_PIXELS = 2.0
_SLACK = 1e-6
"""Pixels by which a coordinate may pass the edge of the view after it was multiplied."""


@dataclass(frozen=True)
class Geometry:
    """What the image published: the original's size, and the affine map from its pixels to the model's view.

    The map is ``x' = a x + b y + c``, ``y' = d x + e y + f``.
    """

    size: Size
    """(width, height) of the original, in pixels."""
    affine: tuple[float, float, float, float, float, float]
    view: Size
    """(width, height) of the view, in its own pixels."""
    turned: bool = False
    """The original was turned as its EXIF orientation says."""

    @classmethod
    def of(cls, published: PlaneView) -> Geometry:
        """From what an image publishes."""
        (a, b, c), (d, e, f) = published.affine
        width, height = published.size
        across, down = published.view
        affine = (float(a), float(b), float(c), float(d), float(e), float(f))
        return cls(
            (float(width), float(height)), affine, (float(across), float(down)), published.turned
        )

    def to_view(self, corners: Corners) -> Corners:
        """The smallest upright box in the view that holds the box."""
        return _mapped(corners, self.affine)

    def to_original(self, corners: Corners) -> Corners:
        """The inverse of `to_view`, kept within the original."""
        x0, y0, x1, y1 = _mapped(corners, _inverse(self.affine))
        width, height = self.size
        return (_within(x0, width), _within(y0, height), _within(x1, width), _within(y1, height))

    def outside(self, corners: Corners) -> float:
        """How far a box reaches out of the original, in pixels; 0 within what rounding explains."""
        width, height = self.size
        x0, y0, x1, y1 = corners
        across, down = max(-x0, x1 - width, 0.0), max(-y0, y1 - height, 0.0)
        free = across <= _tolerance(width) and down <= _tolerance(height)
        return 0.0 if free else max(across, down)

    def seen(self, corners: Corners) -> Corners:
        """What of a box lies within the view, in pixels of the original; the box itself where all or nothing does."""
        x0, y0, x1, y1 = self.to_view(corners)
        width, height = self.view
        inside = min(x0, y0) >= -_SLACK and x1 <= width + _SLACK and y1 <= height + _SLACK
        if inside or self.visible(corners) <= 0:
            return corners
        cut = (_within(x0, width), _within(y0, height), _within(x1, width), _within(y1, height))
        return self.to_original(cut)

    def visible(self, corners: Corners) -> float:
        """Share of a box's area, 0 to 1, that lies within the view; 0 for a box without area."""
        x0, y0, x1, y1 = self.to_view(corners)
        area = (x1 - x0) * (y1 - y0)
        width, height = self.view
        left = _within(x1, width) - _within(x0, width)
        return left * (_within(y1, height) - _within(y0, height)) / area if area > 0 else 0.0


UNIT = Geometry((1.0, 1.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 1.0))
"""For relative boxes that belong to no image."""


def find_geometry(frame: Frame, published: Published, column: str) -> Geometry:
    """The geometry that the boxes of a slot refer to.

    Raises:
        RowError: There is none, or there are several.
    """
    if frame.image is None:
        if frame.relative:
            return UNIT
        way_out = "put an IMAGE before it, or write [BOX,relative] for shares of width and height"
        raise RowError(f"column '{column}': a box in pixels needs an image; {way_out}")
    views = published.all(frame.image, PlaneView)
    if len(views) != 1:
        several = f"there are {len(views)} images" if views else "the row has no such image"
        raise RowError(f"column '{column}': its boxes lie in image '{frame.image}', but {several}")
    return Geometry.of(views[0])


def _tolerance(side: float) -> float:
    """By how much a box may leave a side of the original: counting from 1, and rounding of shares."""
    counted_from_1 = _PIXELS if side > 1 else 0.0
    return max(_ROUNDING * side, counted_from_1)


def _within(value: float, limit: float) -> float:
    return min(max(value, 0.0), limit)


def _mapped(corners: Corners, affine: tuple[float, ...]) -> Corners:
    a, b, c, d, e, f = affine
    x0, y0, x1, y1 = corners
    ends = ((x0, y0), (x1, y0), (x0, y1), (x1, y1))
    xs = [a * x + b * y + c for x, y in ends]
    ys = [d * x + e * y + f for x, y in ends]
    return (min(xs), min(ys), max(xs), max(ys))


def _inverse(affine: tuple[float, ...]) -> tuple[float, ...]:
    a, b, c, d, e, f = affine
    scale = a * e - b * d
    return (
        e / scale,
        -b / scale,
        (b * f - c * e) / scale,
        -d / scale,
        a / scale,
        (c * d - a * f) / scale,
    )
