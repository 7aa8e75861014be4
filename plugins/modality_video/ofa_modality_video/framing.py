"""From a video to the frames that the model sees: the moments are drawn, then every frame is cut alike.

Frames are cut by the row transform of IMAGE, which is asked for each of them with the same random numbers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from ofa_modality_video.clip import Clip
from ofa_modality_video.opening import open_clip
from ofa_modality_video.sampling import moments, span
from ofa_modality_video.settings import Settings
from ofa_modality_video.values import FramedClip
from ofacore.parts import PlaneView
from ofacore.plugin import Registry
from ofacore.protocols import Published, RowContext, RowTransform, SlotPlan

_CUT, _CHANGED = 0, 1
"""Which random numbers of a clip serve what."""


def framed(
    value: Any, slot: SlotPlan, ctx: RowContext, settings: Settings
) -> tuple[FramedClip, PlaneView]:
    """The frames that the model sees, and where the last of them lies in its video.

    Raises:
        RowError: The value is no clip, or cannot be read; the message names the column.
    """
    random = ctx.split == "train" and settings.image.get("augment", "default") != "none"
    rng = ctx.rng if random else None
    seed = int(ctx.rng.integers(2**62))
    clip = open_clip(value, slot.name, settings.rate)
    try:
        begin, end = span(settings.sampling, clip.duration, slot.name)
        times = moments(settings.sampling, begin, end, rng)
        pictures, view = [], None
        for picture in clip.shown(times.tolist(), settings.least):
            cut, view = _cut(picture, slot, ctx, settings, seed)
            pictures.append(cut)
        assert view is not None, "a clip gives a frame for every time"
        return FramedClip(tuple(pictures), seed), _of_whole(view, clip, ctx)
    finally:
        clip.close()


def _of_whole(view: PlaneView, clip: Clip, ctx: RowContext) -> PlaneView:
    """The view of the last frame as it is in the video, where a smaller one was cut."""
    if clip.size is None or clip.size == view.size:
        return view
    sides = zip(view.size, clip.size, strict=True)
    scales = [smaller / larger for smaller, larger in sides]
    original = None if ctx.split == "train" else clip.whole()
    return PlaneView(clip.size, view.affine @ np.diag([*scales, 1.0]), view.view, original)


def _cut(
    picture: Any, slot: SlotPlan, ctx: RowContext, settings: Settings, seed: int
) -> tuple[Any, PlaneView]:
    """What is seen of a frame, a PIL picture, and where that lies."""
    surroundings = RowContext(
        ctx.row,
        ctx.task,
        ctx.split,
        np.random.default_rng((seed, _CUT)),
        options=ctx.options,
        held_back=ctx.held_back,
    )
    row = picture_transform()({slot.name: picture}, [as_image(slot, settings)], surroundings)
    return row[slot.name], surroundings.published.one(slot.name, PlaneView)


def frame_context(slot: SlotPlan, ctx: RowContext, settings: Settings, seed: int) -> RowContext:
    """What surrounds a frame that is cut already, with the random numbers that change all frames alike."""
    sides = (settings.size, settings.size)
    published = Published()
    published.put(slot.name, PlaneView(sides, np.eye(2, 3), sides))
    rng = np.random.default_rng((seed, _CHANGED))
    return RowContext(ctx.row, ctx.task, ctx.split, rng, published, options=ctx.options)


def as_image(slot: SlotPlan, settings: Settings) -> SlotPlan:
    """The slot as if each frame stood in it."""
    return replace(
        slot, type="IMAGE", preprocessor=settings.framing, attributes=dict(settings.image)
    )


@lru_cache(maxsize=1)
def picture_transform() -> RowTransform:
    """The row transform of IMAGE.

    Raises:
        PluginError: No plugin brings IMAGE.
    """
    registry = Registry.discover()
    image = registry.slot("IMAGE")
    options = registry.component("preprocessor", image.preprocessor).options
    built: RowTransform = registry.resolve(image.row_transform or "")(options)
    return built
