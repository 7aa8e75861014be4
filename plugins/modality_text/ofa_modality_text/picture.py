"""A text as a picture: below the row's own pictures if it has any, else on a white page (library: Pillow)."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from ofacore.parts import PlaneView
from ofacore.protocols import RowContext

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif")
_WIDTH, _MARGIN, _SIZE = 320, 8, 16
_LETTERS = 0.55
"""Mean width of a letter, in units of the font's size."""


def page(text: str, ctx: RowContext | None) -> Image:
    """RGB picture of the text, with the pictures that slots of the row have published above it, side by side."""
    from PIL import Image, ImageDraw, ImageFont

    above = _published(ctx)
    across = sum(image.width for image in above) + _MARGIN * max(0, len(above) - 1)
    width = max(_WIDTH, across)
    font = ImageFont.load_default(_SIZE)
    letters = max(1, int((width - 2 * _MARGIN) / (_SIZE * _LETTERS)))
    lines = "\n".join(
        line for part in text.splitlines() for line in textwrap.wrap(part, letters) or [""]
    )
    top = max((image.height for image in above), default=0)
    bottom = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox(
        (0, 0), lines or " ", font=font
    )[3]
    sheet = Image.new("RGB", (width, top + round(bottom) + 2 * _MARGIN), "white")
    left = (width - across) // 2
    for image in above:
        sheet.paste(image, (left, 0))
        left += image.width + _MARGIN
    ImageDraw.Draw(sheet).multiline_text((_MARGIN, top + _MARGIN), lines, fill="black", font=font)
    return sheet


def _published(ctx: RowContext | None) -> list[Image]:
    """The pictures of all slots that have some, each once."""
    found: dict[int, Image] = {}
    for views in ctx.published.of(PlaneView).values() if ctx is not None else ():
        found.update({id(view.original): view.original for view in views if view.original})
    return list(found.values())
