"""The row transform of VIDEO: reads clips and frames them before other slots (boxes) are encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ofa_modality_video.framing import framed
from ofa_modality_video.settings import Settings
from ofa_modality_video.values import is_video
from ofacore.parts import PlaneView
from ofacore.protocols import Options, RowContext, SlotPlan


class VideoTransform:
    """Puts the frames that the model sees in place of each clip.

    For every slot it publishes an `ofacore.parts.PlaneView` of the last frame that is seen, or one for each clip of a
    list.
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
        for slot in {slot.name: slot for slot in reversed(slots)}.values():
            if row.get(slot.name) is not None:
                views: list[PlaneView] = []
                changed[slot.name] = self._column(row[slot.name], slot, ctx, views)
                ctx.published.put(slot.name, *views)
        return changed

    def _column(self, value: Any, slot: SlotPlan, ctx: RowContext, views: list[PlaneView]) -> Any:
        """The column with the frames of its clips, whose views are noted."""
        if is_video(value) or not isinstance(value, (list, tuple)):
            options = {**self._options, **ctx.options.get(slot.preprocessor, {})}
            clip, view = framed(value, slot, ctx, Settings.of(slot, options, ctx, value))
            views.append(view)
            return clip
        return [
            None if element is None else self._column(element, slot, ctx, views)
            for element in value
        ]
