"""Boxes drawn over their image."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ofa_modality_box.values import Corners, Frame, shown_boxes
from ofacore.parts import PlaneView
from ofacore.protocols import Published, RowContext

if TYPE_CHECKING:
    from PIL.Image import Image

_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000")
_CANVAS = 256
_LARGEST_CANVAS = 4096


def draw(image: Image, boxes: Sequence[Corners], labels: Sequence[str] = ()) -> Image:
    """A copy of ``image``, in RGB, with boxes (corners in its pixels) and their labels; missing labels are empty."""
    from PIL import ImageDraw

    copy = image.convert("RGB")
    pen = ImageDraw.Draw(copy)
    width = max(1, round(max(copy.size) / 200))
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        colour = _COLOURS[number % len(_COLOURS)]
        pen.rectangle(
            (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline=colour, width=width
        )
        if number < len(labels) and labels[number]:
            place = (min(x0, x1) + width, min(y0, y1) + width)
            pen.rectangle(pen.textbbox(place, labels[number]), fill=colour)
            pen.text(place, labels[number], fill="white")
    return copy


def picture(value: Any, ctx: RowContext | None) -> Image:
    """One or many boxes on the image that ``ctx`` holds for them, with their scores."""
    boxes = shown_boxes(value)
    frame, view = _origin(ctx)
    image = None if view is None else view.original
    image = image or _canvas(view, frame, [numbers for numbers, _ in boxes])
    corners = [frame.corners(numbers, image.size) for numbers, _ in boxes]
    return draw(image, corners, ["" if score is None else f"{score:.2f}" for _, score in boxes])


def to_html(value: Any, ctx: RowContext | None) -> str:
    """The picture with its numbers beneath, as a self-contained fragment."""
    boxes = [_numbers(box) for box, _ in shown_boxes(value)]
    numbers = "; ".join(boxes) or "none"
    buffer = io.BytesIO()
    picture(value, ctx).save(buffer, format="PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(numbers)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{text}"><figcaption>{text}</figcaption></figure>'


def _numbers(box: Corners) -> str:
    return ", ".join(f"{number:.4g}" for number in box)


def _origin(ctx: RowContext | None) -> tuple[Frame, PlaneView | None]:
    """How the boxes are written, and what their image published; without a slot the first published frame decides."""
    published = ctx.published if ctx is not None else Published()
    frame = next((frames[0] for frames in published.of(Frame).values()), Frame())
    return frame, published.find(frame.image, PlaneView) if frame.image else None


def _canvas(view: PlaneView | None, frame: Frame, boxes: Sequence[Corners]) -> Image:
    """A white image: as large as the original, or large enough for all boxes."""
    from PIL import Image as PillowImage

    size = None if view is None else view.size
    if size is None and not frame.relative and boxes:
        corners = [frame.corners(box, (1.0, 1.0)) for box in boxes]
        size = (max(box[2] for box in corners) + 8, max(box[3] for box in corners) + 8)
    width, height = (
        min(max(1, round(side)), _LARGEST_CANVAS) for side in size or (_CANVAS, _CANVAS)
    )
    return PillowImage.new("RGB", (width, height), "white")
