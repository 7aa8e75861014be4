"""The row transform of VIDEO: reads clips and frames them before other slots (boxes) are encoded."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ofa_modality_video.framing import framed
from ofa_modality_video.settings import Settings
from ofa_modality_video.values import FramedClip, is_video
from ofacore.parts import PlaneView
from ofacore.protocols import Options, RowContext, SlotPlan


class VideoTransform:
    """Puts the frames that the model sees in place of each clip.

    For every column it publishes an `ofacore.parts.PlaneView` of the last frame that its first slot sees, or one for
    each clip of a list.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(
        self, row: dict[str, Any], slots: Sequence[SlotPlan], ctx: RowContext
    ) -> dict[str, Any]:
        """The row with its clips replaced by their frames.

        Raises:
            RowError: A value is no clip, or cannot be read.
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
        """The column of some slots with the frames of its clips, whose views are noted."""
        if is_video(value) or not isinstance(value, (list, tuple)):
            clip, view = self._clip(value, slots, ctx)
            views.append(view)
            return clip
        return [
            None if element is None else self._column(element, slots, ctx, views)
            for element in value
        ]

    def _clip(
        self, value: Any, slots: Sequence[SlotPlan], ctx: RowContext
    ) -> tuple[FramedClip, PlaneView]:
        """The frames of the first slot and where they lie, with those of slots that ask for others.

        All are drawn from the same random numbers.
        """
        first, *further = slots
        drawing, settings = copy.deepcopy(ctx.rng), self._settings(first, ctx, value)
        clip, view = framed(value, first, ctx, settings)
        others: dict[int, FramedClip] = {}
        for slot in further:
            wanted = self._settings(slot, ctx, value)
            if wanted != settings:
                same = replace(ctx, rng=copy.deepcopy(drawing))
                others[slot.position], _ = framed(value, slot, same, wanted)
        return replace(clip, others=others), view

    def _settings(self, slot: SlotPlan, ctx: RowContext, value: Any) -> Settings:
        options = {**self._options, **ctx.options.get(slot.preprocessor, {})}
        return Settings.of(slot, options, ctx, value)
