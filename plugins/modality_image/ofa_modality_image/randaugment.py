"""RandAugment (Cubuk et al. 2020) with the ten operations of OFA, some of which move pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

_GREY = (128, 128, 128)
_LEVEL = 0.7
"""Strength, of 1."""
_FACTOR = 1.8 * _LEVEL + 0.1
_SHEAR = 0.3 * _LEVEL
_SHIFT = 10 * _LEVEL
_DEGREES = 30 * _LEVEL
_SHARE = 0.5

Operation = Callable[[Image.Image, int], Image.Image]
"""(picture, sign: 1 or -1) -> picture of the same size."""


def rand_augment(image: Image.Image, rng: np.random.Generator, changes: int = 2) -> Image.Image:
    """``changes`` operations in a row, drawn with replacement, each applied in half of the cases."""
    for number in rng.integers(len(OPERATIONS), size=changes):
        applied, sign = rng.random() < _SHARE, 1 if rng.random() < 0.5 else -1
        if applied:
            image = OPERATIONS[number](image, sign)
    return image


def _affine(*coefficients: float) -> Operation:
    """Where a pixel (x, y) comes from: (a x + b y + c, d x + e y + f), signed off the diagonal."""
    a, b, c, d, e, f = coefficients

    def move(image: Image.Image, sign: int) -> Image.Image:
        matrix = (a, sign * b, sign * c, sign * d, e, sign * f)
        transform, linear = Image.Transform.AFFINE, Image.Resampling.BILINEAR
        return image.transform(image.size, transform, matrix, linear, fillcolor=_GREY)

    return move


def _rotate(image: Image.Image, sign: int) -> Image.Image:
    return image.rotate(sign * _DEGREES, Image.Resampling.BILINEAR, fillcolor=_GREY)


OPERATIONS: tuple[Operation, ...] = (
    lambda image, _: image,
    lambda image, _: ImageOps.autocontrast(image),
    lambda image, _: ImageOps.equalize(image),
    lambda image, _: ImageEnhance.Brightness(image).enhance(_FACTOR),
    lambda image, _: ImageEnhance.Sharpness(image).enhance(_FACTOR),
    _affine(1, _SHEAR, 0, 0, 1, 0),
    _affine(1, 0, 0, _SHEAR, 1, 0),
    _affine(1, 0, _SHIFT, 0, 1, 0),
    _affine(1, 0, 0, 0, 1, _SHIFT),
    _rotate,
)
