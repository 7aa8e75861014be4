"""Which part of a picture the model sees, and where a pixel of the picture is found in that view.

Coordinates are pixel edges: x from 0 to width, y from 0 to height.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

Size = tuple[int, int]
CropBox = tuple[float, float, float, float]

_SMALLEST_JITTER = 0.85
_IMAGENET_CROP = 0.875
_AREA = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)
_LARGEST_PRETRAIN = 1.5
_ATTEMPTS = 10


@dataclass(frozen=True)
class View:
    """A crop of the picture, resized and maybe mirrored."""

    crop: CropBox
    """(left, top, right, bottom) in pixels of the picture."""
    size: Size
    """(width, height) of the result in pixels."""
    flip: bool = False
    """Mirrored from left to right."""

    def affine(self) -> np.ndarray:
        """float64 [2, 3]: picture pixel (x, y, 1) -> view pixel (x, y)."""
        left, top, right, bottom = self.crop
        x_scale, y_scale = self.size[0] / (right - left), self.size[1] / (bottom - top)
        if self.flip:
            return np.array(
                [[-x_scale, 0.0, self.size[0] + left * x_scale], [0.0, y_scale, -top * y_scale]]
            )
        return np.array([[x_scale, 0.0, -left * x_scale], [0.0, y_scale, -top * y_scale]])

    def apply(
        self, image: Image.Image, resample: Image.Resampling = Image.Resampling.BICUBIC
    ) -> Image.Image:
        """The view of a picture."""
        if self.crop != (0, 0, *image.size) or self.size != image.size:
            image = image.resize(self.size, resample, box=self.crop)
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.flip else image


def whole(size: Size, rng: np.random.Generator) -> CropBox:
    """Everything."""
    return (0, 0, *size)


def jittered(size: Size, rng: np.random.Generator) -> CropBox:
    """A crop of the same aspect ratio, 85 to 100 % as wide, anywhere."""
    share = rng.uniform(_SMALLEST_JITTER, 1.0)
    return _placed(size, share * size[0], share * size[1], rng)


def random_resized(size: Size, rng: np.random.Generator) -> CropBox:
    """8 to 100 % of the area with an aspect ratio of 3/4 to 4/3 (Szegedy et al. 2015), the whole if none fits."""
    for _ in range(_ATTEMPTS):
        area = size[0] * size[1] * rng.uniform(*_AREA)
        ratio = math.exp(rng.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if 1 <= width <= size[0] and 1 <= height <= size[1]:
            return _placed(size, width, height, rng)
    return whole(size, rng)


def zoomed(size: Size, rng: np.random.Generator) -> CropBox:
    """The centre, as if the picture was enlarged 1 to 1.5 times first."""
    share = 1.0 / rng.uniform(1.0, _LARGEST_PRETRAIN)
    return _centred(size, share * size[0], share * size[1])


def centre_square(size: Size, rng: np.random.Generator) -> CropBox:
    """The central square with 87.5 % of the shorter side: resize to 8/7 of the model's size, then crop."""
    side = _IMAGENET_CROP * min(size)
    return _centred(size, side, side)


def widened(crop: CropBox, size: Size, share: float) -> CropBox:
    """A crop whose edges are moved towards those of the picture by a share of their way; 1: the whole picture."""
    left, top, right, bottom = crop
    width, height = size
    if share >= 1:
        return (0, 0, width, height)
    kept = 1 - share
    return (
        left * kept,
        top * kept,
        width - (width - right) * kept,
        height - (height - bottom) * kept,
    )


Draw = Callable[[Size, np.random.Generator], CropBox]


def on_pixels(crop: CropBox) -> tuple[int, int, int, int]:
    """The crop rounded to whole pixels, at least one wide and high."""
    left, top = math.floor(crop[0] + 0.5), math.floor(crop[1] + 0.5)
    right, bottom = math.floor(crop[2] + 0.5), math.floor(crop[3] + 0.5)
    left, top = min(left, math.ceil(crop[2]) - 1), min(top, math.ceil(crop[3]) - 1)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _placed(size: Size, width: float, height: float, rng: np.random.Generator) -> CropBox:
    left, top = rng.uniform(0, size[0] - width), rng.uniform(0, size[1] - height)
    return left, top, min(left + width, size[0]), min(top + height, size[1])


def _centred(size: Size, width: float, height: float) -> CropBox:
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height
