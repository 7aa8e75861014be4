"""Pictures to flat uint8 pixels; normalisation is the adapter's, so that workers ship a quarter of the bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ofa_modality_image import photometric
from ofa_modality_image.loading import is_normalised, load_image
from ofa_modality_image.normalisation import MEANS, STATISTICS
from ofa_modality_image.picture import data_uri
from ofa_modality_image.randaugment import rand_augment
from ofa_modality_image.settings import INTERPOLATIONS, Settings, interpolation
from ofa_modality_image.transform import augmented, draw_view
from ofacore.parts import PlaneView
from ofacore.plugin import PluginError
from ofacore.protocols import (
    Artifact,
    Block,
    DenseSegment,
    Hypothesis,
    Options,
    RowContext,
    RowError,
    Segment,
    SlotPlan,
    TargetSpec,
    Vocabulary,
)

DEFAULT_SIZE = 64
_LARGEST_NORMALISED = 50.0
"""More than any usual normalisation gives, less than the brightest pixels of nearly every picture."""


class ImagePreprocessor:
    """``image``: the whole picture, resized to a square of ``size`` pixels without keeping its aspect ratio.

    Features: ``pixels`` uint8 [size * size * 3], row by row, RGB; ``statistics`` int64 [1], which normalisation.
    """

    def __init__(self, options: Options) -> None:
        self._options = {"size": DEFAULT_SIZE, **options}
        named = self._options.get("mean_std") or "half"
        if named not in STATISTICS[:-1]:
            raise PluginError(
                f"the option mean_std of IMAGE: '{named}' is none of {', '.join(STATISTICS[:-1])}"
            )
        interpolation(str(self._options.get("interpolation") or "bicubic"))

    @staticmethod
    def foreign_settings(settings: Mapping[str, Any]) -> Options:
        """OFASys calls the side of the view ``patch_image_size``, and ImageNet's normalisation by its own name."""
        found: dict[str, Any] = (
            {"size": int(settings["patch_image_size"])} if settings.get("patch_image_size") else {}
        )
        if settings.get("imagenet_default_mean_and_std") is True:
            found["mean_std"] = "imagenet"
        if settings.get("interpolation") in INTERPOLATIONS:
            found["interpolation"] = settings["interpolation"]
        return found

    def fit(self, values: Iterable[Any], rng: np.random.Generator) -> Artifact | None:
        """Nothing is learned."""
        return None

    def blocks(self, artifact: Artifact | None) -> tuple[Block, ...]:
        """No tokens."""
        return ()

    def bind(self, vocabulary: Vocabulary, artifact: Artifact | None) -> None:
        """Needs neither."""

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One segment of shape (size, size), or (size, size, number of cells to keep, seed) with ``sample_patches``.

        An array float [height, width, 3] is taken as it is: it is normalised and resized already.

        Raises:
            RowError: The value is no picture, or holds numbers that are not finite.
        """
        attributes, settings = slot.attributes, Settings.of(slot, self._options)
        if is_normalised(value):
            _check_normalised(value, slot.name)
            pixels, statistics = value.astype(np.float32), STATISTICS.index("given")
        else:
            pixels = self._pixels(value, slot, ctx, settings)
            statistics = STATISTICS.index(settings.mean_std)
        ratio, by = float(attributes.get("mask_ratio") or 0.0), attributes.get("mask_by") or "area"
        pixels = masked(pixels, ratio, MEANS[statistics], by)
        shape: tuple[int, ...] = pixels.shape[:2]
        if attributes.get("sample_patches") and ctx.split == "train":
            shape += (int(attributes["sample_patches"]), int(ctx.rng.integers(2**31)))
        return [
            DenseSegment(
                {"pixels": pixels.reshape(-1), "statistics": np.array([statistics])}, shape
            )
        ]

    def _pixels(
        self, value: Any, slot: SlotPlan, ctx: RowContext, settings: Settings
    ) -> np.ndarray:
        """uint8 [S, S, 3] of one picture, framed already or not."""
        size = settings.size or DEFAULT_SIZE
        image = load_image(value, slot.name, settings.depth, settings.stored)
        if not ctx.published.all(slot.name, PlaneView):
            image = draw_view(slot, ctx, image.size, size).apply(image, settings.resample)
        if image.size != (size, size):
            image = image.resize((size, size), settings.resample)
        if slot.attributes.get("grey"):
            image = image.convert("L").convert("RGB")
        if not augmented(slot, ctx):
            return np.asarray(image)
        if slot.attributes.get("augment") == "rand":
            image = rand_augment(image, ctx.rng)
        return self.changed(image, ctx.rng)

    def changed(self, image: Image.Image, rng: np.random.Generator) -> np.ndarray:
        """Pixels uint8 [S, S, 3] after random changes of colour: none here."""
        return np.asarray(image)

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """Nothing is written: a picture that is a target has another preprocessor."""
        return TargetSpec(open=False)

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Image.Image:
        """A PIL picture of pixels [height, width, 3] in 0 to 255."""
        return Image.fromarray(hypothesis.value.clip(0, 255).round().astype(np.uint8))

    def render(self, value: Any, ctx: RowContext | None = None) -> str:
        """An ``<img>`` with the picture inside."""
        image = shown(value) if is_normalised(value) else load_image(value, "image")
        return f'<img src="{data_uri(image)}" alt="picture">'

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


def shown(pixels: np.ndarray) -> Image.Image:
    """Normalised pixels float [height, width, 3] as a picture, as if they lay between -1 and 1."""
    return Image.fromarray(((pixels * 0.5 + 0.5) * 255).clip(0, 255).round().astype(np.uint8))


def _check_normalised(values: np.ndarray, column: str) -> None:
    """Refuse what cannot be pixels that are normalised.

    Raises:
        RowError: There are none, or numbers that are not finite or far too large.
    """
    if not values.size:
        raise RowError(f"column '{column}': the array has no pixels ({list(values.shape)})")
    if not np.isfinite(values).all():
        raise RowError(f"column '{column}': the array has numbers that are not finite")
    largest = float(np.abs(values).max())
    if largest > _LARGEST_NORMALISED:
        raise RowError(
            f"column '{column}': an array of floats counts as normalised already, but goes up to "
            f"{largest:g}; give pixels of 0 to 255 as uint8"
        )


def masked(
    pixels: np.ndarray, ratio: float, mean: tuple[float, float, float], by: str = "area"
) -> np.ndarray:
    """[height, width, 3] whose centre, ``ratio`` of the area (or side), is 0 after normalisation with ``mean``."""
    if not ratio:
        return pixels
    height, width = pixels.shape[:2]
    rows, columns = (_hidden(side, ratio, by) for side in (height, width))
    top, left = (height - rows) // 2, (width - columns) // 2
    hidden = pixels.copy()
    hidden[top : top + rows, left : left + columns] = np.rint(np.array(mean) * 255)
    return hidden


def _hidden(side: int, ratio: float, by: str) -> int:
    """Pixels of a side that are hidden; by side as OFA rounds them: what is left on the two ends is equal."""
    return (
        side - 2 * int(side * (1 - ratio) / 2) if by == "side" else round(side * math.sqrt(ratio))
    )
