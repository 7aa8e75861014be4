"""What preprocessors of pictures that are written share: the picture at its size, what of it is given, references."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ofa_modality_image.canvas import hidden_pixels
from ofa_modality_image.loading import is_normalised, load_image
from ofa_modality_image.preprocessor import DEFAULT_SIZE, ImagePreprocessor
from ofa_modality_image.settings import Settings
from ofa_modality_image.transform import draw_view
from ofacore.parts import PlaneView
from ofacore.protocols import RowContext, RowError, SlotPlan

_NEUTRAL = 128
"""Grey that stands for pixels that are not known."""


class WrittenPictures(ImagePreprocessor):
    """Base of preprocessors whose pictures are written: whole pictures, resized to a square."""

    def side(self, slot: SlotPlan) -> int:
        """Pixels on a side."""
        return Settings.of(slot, self._options).size or DEFAULT_SIZE

    def pixels(self, value: Any, slot: SlotPlan, ctx: RowContext) -> np.ndarray:
        """uint8 [size, size, 3].

        Raises:
            RowError: The value is no picture, or floats that are normalised, of which nobody knows the pixels.
        """
        if is_normalised(value):
            raise RowError(
                f"column '{slot.name}': an array of floats counts as normalised already, and cannot be written; "
                "give pixels of 0 to 255 as uint8"
            )
        settings, side = Settings.of(slot, self._options), self.side(slot)
        image = load_image(value, slot.name, settings.depth, settings.stored)
        if not ctx.published.all(slot.name, PlaneView):
            image = draw_view(slot, ctx, image.size, side).apply(image, settings.resample)
        if image.size != (side, side):
            image = image.resize((side, side), settings.resample)
        return np.array(image)

    def hidden(self, slot: SlotPlan, ctx: RowContext) -> np.ndarray | None:
        """bool [size, size]: pixels to be written; None: all of them.

        Raises:
            RowError: The attribute ``inpaint`` says nothing that can be used.
        """
        return hidden_pixels(slot, ctx, self.side(slot))

    def own(self, slot: SlotPlan, ctx: RowContext) -> np.ndarray | None:
        """uint8 [size, size, 3] of the row's own picture, of which parts are given; None: nothing is given.

        Raises:
            RowError: Parts should be given, but the row has no picture.
        """
        if not slot.attributes.get("inpaint"):
            return None
        value = None if slot.repeat else ctx.row.get(slot.name)
        if value is None:
            raise RowError(
                f"column '{slot.name}': inpaint needs the picture whose hidden part is to be written"
            )
        return self.pixels(value, slot, ctx)

    def as_decoded(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Image.Image:
        """The picture at the size of the slot, as a faultless answer would be.

        Raises:
            RowError: The value is no picture.
        """
        return Image.fromarray(self.pixels(value, slot, ctx))


def covered(pixels: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """uint8 [size, size, 3] with a neutral grey over pixels that are hidden, bool [size, size]."""
    shown = pixels.copy()
    shown[hidden] = _NEUTRAL
    return shown
