"""The row transform of IMAGE: chooses each picture's view before other slots (its boxes) are encoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ofa_modality_image import geometry
from ofa_modality_image.loading import is_normalised, read_image
from ofa_modality_image.settings import Settings
from ofa_modality_image.values import is_image
from ofacore.parts import PlaneView
from ofacore.protocols import Options, RowContext, SlotPlan

_FLIP_SHARE = 0.5


@dataclass(frozen=True)
class Policy:
    """How a preprocessor frames pictures."""

    train: geometry.Draw
    evaluate: geometry.Draw = geometry.whole
    flips: bool = False
    """Mirrors half of the training pictures without being asked."""


POLICIES: Mapping[str, Policy] = {
    "image": Policy(geometry.jittered),
    "imagenet": Policy(geometry.random_resized, geometry.centre_square, flips=True),
    "imagepretrain": Policy(geometry.zoomed),
    "image_flow": Policy(geometry.whole),
    "image_vqgan": Policy(geometry.whole),
}
"""Preprocessor -> framing."""


def augmented(slot: SlotPlan, ctx: RowContext) -> bool:
    """Whether a picture may be changed at random: in training, unless ``augment=none``."""
    return ctx.split == "train" and slot.attributes.get("augment", "default") != "none"


def draw_view(
    slot: SlotPlan, ctx: RowContext, size: geometry.Size, side: int | None
) -> geometry.View:
    """View of a picture of ``size`` (width, height): ``side`` x ``side`` pixels, or a crop at its own resolution."""
    policy = POLICIES.get(slot.preprocessor, POLICIES["image"])
    random = augmented(slot, ctx)
    crop = (policy.train if random else policy.evaluate)(size, ctx.rng)
    if random and ctx.held_back:
        crop = geometry.widened(crop, size, ctx.held_back)
    flips = random and (policy.flips or slot.attributes.get("augment") == "flip")
    flip = bool(flips and ctx.rng.random() < _FLIP_SHARE)
    if side:
        return geometry.View(crop, (side, side), flip)
    left, top, right, bottom = geometry.on_pixels(crop)
    return geometry.View((left, top, right, bottom), (right - left, bottom - top), flip)


class ImageTransform:
    """Loads pictures, frames them, and publishes the geometry.

    For every slot it publishes an `ofacore.parts.PlaneView` in pixels; for each picture of a list, one.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(
        self, row: dict[str, Any], slots: Sequence[SlotPlan], ctx: RowContext
    ) -> dict[str, Any]:
        """The row with its pictures replaced by their views.

        Raises:
            RowError: A value is no picture.
        """
        changed = dict(row)
        for name in dict.fromkeys(slot.name for slot in slots):
            if row.get(name) is not None:
                same = [slot for slot in slots if slot.name == name]
                views: list[PlaneView] = []
                changed[name] = self._column(row[name], same, ctx, views)
                ctx.published.put(name, *views)
        return changed

    def _column(
        self, value: Any, slots: Sequence[SlotPlan], ctx: RowContext, views: list[PlaneView]
    ) -> Any:
        """The column of some slots with views of its pictures, each of which is noted."""
        if is_image(value) or not isinstance(value, (list, tuple)):
            picture, view = self._picture(value, slots, ctx)
            views.append(view)
            return picture
        return [
            None if element is None else self._column(element, slots, ctx, views)
            for element in value
        ]

    def _picture(
        self, value: Any, slots: Sequence[SlotPlan], ctx: RowContext
    ) -> tuple[Any, PlaneView]:
        """The view that the first slot asks for, as large as that slot asks which wants most pixels."""
        if is_normalised(value):
            size = (value.shape[1], value.shape[0])
            return value, PlaneView(size, np.eye(2, 3), size)
        slot, wanted = slots[0], [self._settings(slot, ctx) for slot in slots]
        settings, sides = wanted[0], [one.size for one in wanted]
        side = None if None in sides else max(filter(None, sides))
        loaded = read_image(value, slot.name, settings.depth, settings.stored)
        view = draw_view(slot, ctx, loaded.image.size, side)
        published = PlaneView(
            loaded.image.size, view.affine(), view.size, loaded.image, loaded.turned
        )
        return view.apply(loaded.image, settings.resample), published

    def _settings(self, slot: SlotPlan, ctx: RowContext) -> Settings:
        return Settings.of(slot, {**self._options, **ctx.options.get(slot.preprocessor, {})})
