"""Pictures to flat uint8 pixels; normalisation is the adapter's, so that workers ship a quarter of the bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ofa_modality_image import photometric
from ofa_modality_image.geometry import REDUCING_GAP
from ofa_modality_image.loading import load_image
from ofa_modality_image.normalisation import MEANS, STATISTICS
from ofa_modality_image.picture import data_uri
from ofa_modality_image.transform import augmented, draw_view
from ofacore.protocols import (
    Artifact,
    Block,
    DenseSegment,
    Hypothesis,
    Options,
    RowContext,
    Segment,
    SlotPlan,
    TargetSpec,
    Vocabulary,
)

DEFAULT_SIZE = 64


class ImagePreprocessor:
    """``image``: the whole picture, resized to a square of ``size`` pixels without keeping its aspect ratio.

    Features: ``pixels`` uint8 [size * size * 3], row by row, RGB; ``statistics`` int64 [1], which normalisation.
    """

    def __init__(self, options: Options) -> None:
        self._size = int(options.get("size", DEFAULT_SIZE))

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """Nothing is learned."""
        return None

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """No tokens."""
        return ()

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Needs neither."""

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One segment of shape (size, size).

        Raises:
            RowError: The value is no picture.
        """
        size = int(slot.attributes.get("size") or self._size)
        image = load_image(value, slot.name)
        if slot.name not in ctx.published:
            image = draw_view(slot, ctx, image.size, size).apply(image)
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
        pixels = self.changed(image, ctx.rng) if augmented(slot, ctx) else np.asarray(image)
        statistics = STATISTICS.index(slot.attributes.get("mean_std") or "half")
        pixels = masked(pixels, float(slot.attributes.get("mask_ratio") or 0.0), MEANS[statistics])
        features = {"pixels": pixels.reshape(-1), "statistics": np.array([statistics])}
        return [DenseSegment(features, (size, size))]

    def changed(self, image: Image.Image, rng: np.random.Generator) -> np.ndarray:
        """Pixels uint8 [S, S, 3] after random changes of colour: none here."""
        return np.asarray(image)

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """A picture of the slot's size: its number of pixels."""
        size = int(slot.attributes.get("size") or self._size)
        return TargetSpec(open=False, length=size * size)

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Image.Image:
        """A PIL picture from values [height, width, 3] in 0 to 255."""
        return Image.fromarray(hypothesis.value.clip(0, 255).round().astype(np.uint8))

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """An ``<img>`` with the picture inside."""
        return f'<img src="{data_uri(load_image(value, "image"))}" alt="picture">'

    def save(self, value: Any, ctx: RowContext | None, path: Path | str) -> None:
        """Write the picture in the format that the file's ending names."""
        load_image(value, "image").save(path)


class ImagenetPreprocessor(ImagePreprocessor):
    """``imagenet``: crop of 8 to 100 % of the area, mirror, colour jitter, RandAugment and erasing in training;
    else the central square."""

    def changed(self, image: Image.Image, rng: np.random.Generator) -> np.ndarray:
        image = photometric.colour_jitter(image, rng)
        image = photometric.random_augment(image, rng, changes=2, strength=0.9)
        return photometric.random_erase(np.asarray(image), rng)


class ImagePretrainPreprocessor(ImagePreprocessor):
    """``imagepretrain``: in training the centre of a picture enlarged up to 1.5 times, and RandAugment."""

    def changed(self, image: Image.Image, rng: np.random.Generator) -> np.ndarray:
        return np.asarray(photometric.random_augment(image, rng, changes=2, strength=0.7))


def masked(pixels: np.ndarray, ratio: float, mean: tuple[float, float, float]) -> np.ndarray:
    """uint8 [S, S, 3] whose central square, ``ratio`` of the area, is 0 after normalisation with ``mean``."""
    side = pixels.shape[0]
    edge = round(side * math.sqrt(ratio))
    if edge == 0:
        return pixels
    start = (side - edge) // 2
    hidden = pixels.copy()
    hidden[start : start + edge, start : start + edge] = np.rint(np.array(mean) * 255)
    return hidden
