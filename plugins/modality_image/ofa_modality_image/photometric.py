"""Changes of colour for training: they leave every pixel where it is, so boxes stay true.

Drawn from the row's own generator, which the transforms of torchvision (global generator of torch) would not be.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Change = Callable[[Image.Image, float], Image.Image]
"""(picture, strength 0 to 1) -> picture."""

_COLOUR_JITTER = 0.4
_ERASE_SHARE = 0.25
_ERASE_AREA = (0.02, 1 / 3)
_ERASE_RATIO = (0.3, 3.3)
_NOISE_STD = 0.5
_ATTEMPTS = 10


def colour_jitter(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Brightness, contrast and saturation times 0.6 to 1.4 each, in random order."""
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for number in rng.permutation(len(enhancers)):
        image = enhancers[number](image).enhance(
            rng.uniform(1 - _COLOUR_JITTER, 1 + _COLOUR_JITTER)
        )
    return image


def random_augment(
    image: Image.Image, rng: np.random.Generator, changes: int, strength: float
) -> Image.Image:
    """RandAugment (Cubuk et al. 2020) without its geometric operations: ``changes`` random ones in a row.

    ``strength`` 0 to 1 is the mean of the magnitude, spread by 0.05 as in ``rand-m9-mstd0.5``.
    """
    for number in rng.integers(len(_CHANGES), size=changes):
        magnitude = float(np.clip(rng.normal(strength, _NOISE_STD / 10), 0.0, 1.0))
        signed = magnitude if rng.random() < 0.5 else -magnitude
        image = _CHANGES[number](image, signed)
    return image


def random_erase(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """In a quarter of the cases, uint8 [S, S, 3] with a rectangle of noise (Zhong et al. 2020)."""
    if rng.random() >= _ERASE_SHARE:
        return pixels
    side = pixels.shape[0]
    for _ in range(_ATTEMPTS):
        area = side * side * rng.uniform(*_ERASE_AREA)
        ratio = np.exp(rng.uniform(*np.log(_ERASE_RATIO)))
        height, width = round(float(np.sqrt(area * ratio))), round(float(np.sqrt(area / ratio)))
        if 0 < height < side and 0 < width < side:
            top, left = rng.integers(side - height), rng.integers(side - width)
            erased = pixels.copy()
            erased[top : top + height, left : left + width] = rng.integers(
                256, size=(height, width, 3)
            )
            return erased
    return pixels


def _enhancer(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Change:
    return lambda image, strength: kind(image).enhance(1.0 + 0.9 * strength)


def _posterize(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.posterize(image, 8 - round(4 * abs(strength)))


def _solarize(image: Image.Image, strength: float) -> Image.Image:
    return ImageOps.solarize(image, round(256 * (1 - abs(strength))))


_CHANGES: tuple[Change, ...] = (
    lambda image, _: ImageOps.autocontrast(image),
    lambda image, _: ImageOps.equalize(image),
    _posterize,
    _solarize,
    _enhancer(ImageEnhance.Color),
    _enhancer(ImageEnhance.Contrast),
    _enhancer(ImageEnhance.Brightness),
    _enhancer(ImageEnhance.Sharpness),
)
