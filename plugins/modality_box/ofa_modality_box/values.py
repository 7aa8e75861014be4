"""From the ways in which boxes are written to corners, and back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ofa_modality_box.manifest import is_box
from ofacore.protocols import Options, RowError, excerpt

Corners = tuple[float, float, float, float]
"""(x0, y0, x1, y1): left, top, right, bottom."""
Format = Literal["xyxy", "xywh", "cxcywh"]
NONE = "none"
_CORNER_NAMES = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
"""How dicts of other projects name two corners."""


@dataclass(frozen=True)
class Frame:
    """How the boxes of a slot are written; published under the slot's name for drawing."""

    image: str | None = None
    """Slot of the image that they lie in."""
    format: Format = "xyxy"
    relative: bool = False

    @classmethod
    def of(cls, attributes: Options) -> Frame:
        """The frame that a slot's attributes describe."""
        return cls(
            attributes.get("image"),
            attributes.get("format", "xyxy"),
            bool(attributes.get("relative")),
        )

    def corners(self, numbers: Corners, size: tuple[float, float]) -> Corners:
        """Corners in pixels of an image of ``size`` (width, height)."""
        a, b, c, d = numbers
        if self.format == "xywh":
            c, d = a + c, b + d
        elif self.format == "cxcywh":
            a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
        width, height = size if self.relative else (1.0, 1.0)
        return (a * width, b * height, c * width, d * height)

    def numbers(self, corners: Corners, size: tuple[float, float]) -> list[float]:
        """The inverse of `corners`."""
        width, height = size if self.relative else (1.0, 1.0)
        a, b, c, d = (
            corners[0] / width,
            corners[1] / height,
            corners[2] / width,
            corners[3] / height,
        )
        if self.format == "xywh":
            return [a, b, c - a, d - b]
        if self.format == "cxcywh":
            return [(a + c) / 2, (b + d) / 2, c - a, d - b]
        return [a, b, c, d]


def box_numbers(value: Any, column: str) -> Corners | None:
    """The four numbers of one box as written; None for "none".

    Raises:
        RowError: This is no box.
    """
    if isinstance(value, Mapping):
        if "box" not in value:
            raise RowError(f"column '{column}': {_way_out(value)}")
        value = value["box"]
    if value is None:
        return None
    parts = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, str):
        if value.strip().lower() == NONE:
            return None
        parts = value.strip().strip("[]()").replace(",", " ").split()
    if not isinstance(parts, Sequence) or isinstance(parts, bytes | bytearray) or len(parts) != 4:
        problem = f"expected a box of four numbers such as '10,20,110,220', or 'none', got {_shown(value)}"
        raise RowError(f"column '{column}': {problem}")
    if any(isinstance(number, bool) for number in parts):
        raise RowError(f"column '{column}': a box has four numbers, got {_shown(value)}")
    try:
        a, b, c, d = (float(number) for number in parts)
    except (TypeError, ValueError, OverflowError):
        raise RowError(f"column '{column}': a box has four numbers, got {_shown(value)}") from None
    if not all(map(math.isfinite, (a, b, c, d))):
        raise RowError(f"column '{column}': the box {_shown(value)} is not finite")
    return (a, b, c, d)


def box_list(value: Any) -> list[Any]:
    """The boxes of a slot with ``many``: a list of boxes, one box, several in a string parted by ``;``, or none.

    What is nothing of this kind is taken for one box, for `box_numbers` to refuse.
    """
    if value is None or (isinstance(value, str) and value.strip().lower() in (NONE, "")):
        return []
    if isinstance(value, str):
        return [part for part in value.split(";") if part.strip()]
    single = is_box(value) or isinstance(value, Mapping | bytes) or not isinstance(value, Iterable)
    return [value] if single else list(value)


def shown_boxes(value: Any) -> list[tuple[Corners, float | None]]:
    """(numbers, score) of all boxes in a decoded or given value, whatever its form; "none" is left out."""
    boxes = []
    for element in box_list(value):
        numbers = box_numbers(element, "box")
        if numbers is not None:
            boxes.append((numbers, element.get("score") if isinstance(element, dict) else None))
    return boxes


def _way_out(value: Mapping[str, Any]) -> str:
    """What to do about a dict that is no box: of COCO, of VOC, or another."""
    names = {str(name).lower() for name in value}
    problem = f"a dict with {_shown(list(value))} is no box"
    if "bbox" in names:
        return f"{problem}; give the four numbers of its 'bbox', with format=xywh where they are those of COCO"
    for corners in _CORNER_NAMES:
        if names.issuperset(corners):
            return f"{problem}; give [{', '.join(corners)}], with format=xyxy"
    return f"{problem}; give its four numbers, and say by format= what they are"


def _shown(value: Any) -> str:
    return excerpt(value, 80)
