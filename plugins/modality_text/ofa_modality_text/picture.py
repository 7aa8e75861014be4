"""A text as a picture: below the row's own picture if it has one, else on a white page (library: Pillow)."""

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
    """RGB picture of the text, with the first picture that a slot of the row has published above it."""
    from PIL import Image, ImageDraw, ImageFont

    above = _published(ctx)
    width = max(_WIDTH, above.width if above else 0)
    font = ImageFont.load_default(_SIZE)
    letters = max(1, int((width - 2 * _MARGIN) / (_SIZE * _LETTERS)))
    lines = "\n".join(
        line for part in text.splitlines() for line in textwrap.wrap(part, letters) or [""]
    )
    top = above.height if above else 0
    bottom = ImageDraw.Draw(Image.new("RGB", (1, 1))).multiline_textbbox(
        (0, 0), lines or " ", font=font
    )[3]
    sheet = Image.new("RGB", (width, top + round(bottom) + 2 * _MARGIN), "white")
    if above:
        sheet.paste(above, ((width - above.width) // 2, 0))
    ImageDraw.Draw(sheet).multiline_text((_MARGIN, top + _MARGIN), lines, fill="black", font=font)
    return sheet


def _published(ctx: RowContext | None) -> Image | None:
    """The picture of the first slot that has one."""
    for views in ctx.published.of(PlaneView).values() if ctx is not None else ():
        if views[0].original is not None:
            image: Image = views[0].original
            return image
    return None
