"""Clips as small animations for reports."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from ofa_modality_video.opening import open_clip
from ofa_modality_video.sampling import Sampling, moments
from ofa_modality_video.values import FramedClip

FRAMES, SIDE = 16, 160
"""Most frames, and most pixels of a side."""
_QUICKEST, _SLOWEST = 60, 400
"""Milliseconds of a frame."""
_USUAL = 2.0
"""Seconds that frames without times are shown for together."""


def moving_picture(value: Any) -> str:
    """An ``<img>`` with an endless GIF of a clip, at most `FRAMES` frames in as much time as it takes.

    Raises:
        RowError: The value is no clip.
    """
    if isinstance(value, FramedClip):
        return _html(list(value.pictures), _USUAL)
    clip = open_clip(value, "video")
    try:
        times = moments(Sampling(FRAMES), 0.0, clip.duration, None).tolist()
        pictures = [_small(_opened(picture)) for picture in clip.shown(times, SIDE)]
        return _html(pictures, clip.duration)
    finally:
        clip.close()


def _opened(picture: Any) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    if hasattr(picture, "ndim"):
        plane = picture[..., 0] if picture.shape[2:] == (1,) else picture
        return Image.fromarray(plane).convert("RGB")
    with Image.open(picture) as file:
        return file.convert("RGB")


def _small(picture: Image.Image) -> Image.Image:
    picture.thumbnail((SIDE, SIDE))
    return picture


def _html(pictures: list[Image.Image], seconds: float) -> str:
    milliseconds = 1000 * seconds / len(pictures)
    pause = round(min(max(milliseconds, _QUICKEST), _SLOWEST))
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=pause, loop=0
    )
    content = base64.b64encode(buffer.getvalue()).decode()
    return f'<img src="data:image/gif;base64,{content}" alt="video">'
