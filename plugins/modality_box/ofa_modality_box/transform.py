"""The row transform of BOX: what becomes of boxes that a crop leaves out of view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ofa_modality_box.geometry import find_geometry
from ofa_modality_box.manifest import is_box
from ofa_modality_box.values import Frame, box_list, box_numbers
from ofacore.protocols import RedrawError, RowContext, RowError, SlotPlan

_GONE = object()
"""In the place of what a crop leaves out of view."""


class BoxTransform:
    """Runs behind the transform of the images, whose published geometry it reads.

    A list of boxes loses those of which less than ``min_visible`` of the area is left in the view. The other columns
    of the same repeat (`SlotPlan.repeat`) lose the same places. So does each turn of a repeat whose boxes are a list
    (``many``); a turn that has none left goes. Boxes keep the coordinates they came with. At inference nothing is
    dropped: what a caller asks about is answered, or refused when it is encoded.

    A crop of training that leaves no box of a list, or not the one box of a slot, is drawn again, and is larger then.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.min_visible = float(options.get("min_visible", 0.2))

    def __call__(
        self, row: dict[str, Any], slots: Sequence[SlotPlan], ctx: RowContext
    ) -> dict[str, Any]:
        """The row with shorter lists; itself where everything stays.

        Raises:
            RedrawError: In training, nothing of a slot is left in view.
        """
        if ctx.split == "infer":
            return row
        for slot in {slot.name: slot for slot in slots}.values():
            boxes, several = _boxes(row.get(slot.name), slot)
            left = [self._left(box, slot, ctx) for box in boxes]
            kept = [number for number, box in enumerate(left) if box is not _GONE]
            if ctx.split == "train" and ctx.held_back < 1 and boxes and not kept:
                raise RedrawError(f"column '{slot.name}': the crop leaves no box in view")
            if several and any(new is not old for new, old in zip(left, boxes, strict=True)):
                columns = (slot.name, *slot.repeat)
                row = {**row, **_places({**row, slot.name: left}, columns, kept, len(boxes))}
        return row

    def _left(self, value: Any, slot: SlotPlan, ctx: RowContext) -> Any:
        """What is left in view of a place of a column: a box, or the boxes of one turn; `_GONE` for nothing."""
        if not _holds_several(value, slot):
            return value if self._stays(value, slot, ctx) else _GONE
        boxes = box_list(value)
        left = [box for box in boxes if self._stays(box, slot, ctx)]
        if len(left) == len(boxes):
            return value
        if not left:
            return _GONE
        return ";".join(left) if isinstance(value, str) else left

    def _stays(self, box: Any, slot: SlotPlan, ctx: RowContext) -> bool:
        """False for a box that was cropped away; what is no box is left for encoding to report."""
        frame = Frame.of(slot.attributes)
        try:
            numbers = box_numbers(box, slot.name)
            geometry = find_geometry(frame, ctx.published, slot.name)
        except RowError:
            return True
        if numbers is None:
            return True
        corners = frame.corners(numbers, geometry.size)
        inverted = corners[0] >= corners[2] or corners[1] >= corners[3]
        faulty = inverted or (geometry.outside(corners) > 0 and not slot.attributes.get("clip"))
        options = ctx.options.get(slot.preprocessor, {})
        return faulty or geometry.visible(corners) >= float(
            options.get("min_visible", self.min_visible)
        )


def _boxes(value: Any, slot: SlotPlan) -> tuple[list[Any], bool]:
    """The boxes of a column, or those of each turn of a repeat with ``many``; and whether it may hold several."""
    if isinstance(value, str) and slot.attributes.get("many") and not slot.repeat:
        return box_list(value), True
    if isinstance(value, str) or is_box(value) or not isinstance(value, Iterable):
        return [value], False
    return list(value), True


def _holds_several(value: Any, slot: SlotPlan) -> bool:
    """Whether a place of a column holds the boxes of one turn of a repeat."""
    if not (slot.repeat and slot.attributes.get("many")):
        return False
    if isinstance(value, str):
        return ";" in value
    return isinstance(value, Iterable) and not is_box(value) and not isinstance(value, Mapping)


def _places(
    row: Mapping[str, Any], columns: Sequence[str], kept: Sequence[int], length: int
) -> dict[str, list[Any]]:
    """The kept places of every column that is a list of ``length``; a value that serves all turns has none."""
    places: dict[str, list[Any]] = {}
    for name in columns:
        if name in row and _is_list(row[name], length):
            values = row[name]
            places[name] = [values[number] for number in kept]
    return places


def _is_list(value: Any, length: int) -> bool:
    if isinstance(value, str | bytes | dict):
        return False
    if not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
        return False
    return len(value) == length
