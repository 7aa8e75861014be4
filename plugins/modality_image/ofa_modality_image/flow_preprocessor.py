"""Pictures that are written by flow: patches of pixels as numbers, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from ofa_modality_image.canvas import Canvas, cells_of, hidden_cells
from ofa_modality_image.patches import from_patches, to_patches
from ofa_modality_image.written import WrittenPictures
from ofacore.protocols import (
    DenseSegment,
    Hypothesis,
    RowContext,
    Segment,
    SlotPlan,
    TargetSpec,
)


class FlowPreprocessor(WrittenPictures):
    """``image_flow``: the whole picture as patches of ``patch`` x ``patch`` pixels.

    Features: ``patches`` float32 [n, patch * patch * 3] in -1 to 1; ``level`` float32 [n], the share of the picture in
    it, 1 here and 0 in pure noise. Labels of a target: ``values``, the clean patches that are learned.
    """

    def encode(self, value: Any, slot: SlotPlan, ctx: RowContext) -> list[Segment]:
        """One segment of shape (rows, columns) of patches.

        Raises:
            RowError: The value is no picture, ``inpaint`` cannot be used, or patches do not fill the size.
        """
        cells = self._cells(slot)
        clean = to_patches(self.pixels(value, slot, ctx), self._patch)
        features = {"patches": clean, "level": np.ones(len(clean), np.float32)}
        if slot.side == "source" or not slot.loss:
            return [DenseSegment(features, (cells, cells))]
        hidden = self.hidden(slot, ctx)
        if hidden is None:
            return [DenseSegment(features, (cells, cells), {"values": clean})]
        learned = np.flatnonzero(hidden_cells(hidden, cells))
        labels = {"values": clean[learned]}
        return [DenseSegment(features, (cells, cells), labels, loss_positions=learned)]

    def expect(self, slot: SlotPlan, ctx: RowContext) -> TargetSpec:
        """As many patches as fill the size. Publishes a `Canvas` for the generator.

        Raises:
            RowError: Parts should be given, but the row has no picture; or patches do not fill the size.
        """
        cells, own, hidden = self._cells(slot), None, None
        if ctx.split != "train":
            own, hidden = self.own(slot, ctx), self.hidden(slot, ctx)
        given = np.zeros((cells * cells, self._patch * self._patch * 3), np.float32)
        known = np.zeros(cells * cells, bool)
        if own is not None and hidden is not None:
            given, known = to_patches(own, self._patch), ~hidden_cells(hidden, cells)
        ctx.published.put(slot.name, Canvas((cells, cells), given, known))
        return TargetSpec(open=False, length=cells * cells)

    def decode(self, hypothesis: Hypothesis, slot: SlotPlan, ctx: RowContext) -> Image.Image:
        """An RGB picture of PIL."""
        return Image.fromarray(from_patches(hypothesis.value, self._cells(slot), self._patch))

    @property
    def _patch(self) -> int:
        return int(self._options["patch"])

    def _cells(self, slot: SlotPlan) -> int:
        return cells_of(self.side(slot), self._patch, slot)
