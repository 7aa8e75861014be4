"""Clips as moving pictures: a stick figure where the skeleton is known, curves with a cursor elsewhere."""

from __future__ import annotations

import colorsys
import io
import math

import numpy as np
from PIL import Image, ImageDraw

from ofa_modality_motion.clip import Clip
from ofa_modality_motion.forms import DEFAULT_FPS
from ofa_modality_motion.kinematics import stick_figure

SIDE = 240
_MARGIN = 12
_MOST_FRAMES = 90
_QUICKEST, _TICK = 0.02, 0.01
"""Seconds of a picture that every viewer shows that fast, and steps in which GIF counts them."""
_MOST_CURVES = 12
_INK, _PAPER, _CURSOR = (30, 40, 60), (255, 255, 255), (210, 60, 40)
_TURN = np.radians(30)


def gif(clip: Clip) -> bytes:
    """An endless GIF of ``SIDE`` pixels at the clip's rate; long clips, and those of a high rate, skip frames."""
    fps = clip.fps or DEFAULT_FPS
    stride = max(-(-len(clip.frames) // _MOST_FRAMES), math.ceil(fps * _QUICKEST))
    pictures = _curves(clip.frames, stride) if clip.skeleton is None else _figures(clip, stride)
    buffer = io.BytesIO()
    ends = np.rint(np.arange(len(pictures) + 1) * stride / (fps * _TICK))
    milliseconds = np.diff(ends) * round(1000 * _TICK)
    pictures[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=milliseconds.astype(int).tolist(),
        loop=0,
        optimize=False,
    )
    return buffer.getvalue()


def _figures(clip: Clip, stride: int) -> list[Image.Image]:
    if clip.skeleton is None:
        raise ValueError("a stick figure needs a skeleton")
    places, bones = stick_figure(clip.skeleton, clip.frames[::stride])
    points = _on_canvas(_projected(places))
    pictures = []
    for frame in points:
        picture = Image.new("RGB", (SIDE, SIDE), _PAPER)
        pen = ImageDraw.Draw(picture)
        for number, (start, end) in enumerate(bones):
            pen.line(
                [tuple(frame[start]), tuple(frame[end])], fill=_colour(number, len(bones)), width=3
            )
        pictures.append(picture)
    return pictures


def _projected(places: np.ndarray) -> np.ndarray:
    """[frames, points, 2]: seen from the front, a little from the side, y upwards."""
    if places.shape[-1] == 2:
        return places
    across = places[..., 0] * np.cos(_TURN) + places[..., 2] * np.sin(_TURN)
    return np.stack([across, places[..., 1]], axis=-1)


def _on_canvas(points: np.ndarray) -> np.ndarray:
    """Pixels; the whole clip fills the picture at one scale."""
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    scale = (SIDE - 2 * _MARGIN) / max(float((high - low).max()), 1e-9)
    pixels = (points - (low + high) / 2) * scale + SIDE / 2
    pixels[..., 1] = SIDE - pixels[..., 1]
    return pixels


def _curves(frames: np.ndarray, stride: int) -> list[Image.Image]:
    low, high = frames.min(axis=0), frames.max(axis=0)
    moving = np.argsort(low - high, kind="stable")[:_MOST_CURVES]
    shares = (frames[:, moving] - low[moving]) / np.maximum(high - low, 1e-9)[moving]
    x = (
        np.linspace(_MARGIN, SIDE - _MARGIN, len(frames))
        if len(frames) > 1
        else np.array([SIDE / 2])
    )
    y = SIDE - _MARGIN - shares * (SIDE - 2 * _MARGIN)
    page = Image.new("RGB", (SIDE, SIDE), _PAPER)
    pen = ImageDraw.Draw(page)
    for curve in range(len(moving)):
        points = list(zip(x.tolist(), y[:, curve].tolist(), strict=True))
        ends = points if len(points) > 1 else points * 2
        pen.line(ends, fill=_colour(curve, len(moving)), width=2)
    return [_with_cursor(page, float(place)) for place in x[::stride]]


def _with_cursor(page: Image.Image, x: float) -> Image.Image:
    picture = page.copy()
    ImageDraw.Draw(picture).line([(x, 0), (x, SIDE)], fill=_CURSOR, width=1)
    return picture


def _colour(number: int, total: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(0.55 + 0.5 * number / max(total, 1), 0.75, 0.7)
    return round(255 * red), round(255 * green), round(255 * blue)
