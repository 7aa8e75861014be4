"""From any accepted value to a clip that is open for reading."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ofa_modality_video.clip import Clip, ListedClip
from ofa_modality_video.container import DEFAULT_FPS, open_container
from ofacore.protocols import RowError

ACCEPTED = (
    "the path or content of a video, GIF or WebP, a folder of pictures, a uint8 array [frames, height, width] or "
    "[frames, height, width, 1|3|4], a list of pictures, or a dict with 'path', 'bytes' or 'frames'"
)
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
_REMOTE = re.compile(r"^(https?|ftp|s3|gs|oss|rtsp|rtmp)://", re.IGNORECASE)
_ANIMATIONS = (b"GIF8", b"RIFF", b"\x89PNG")
_CHANNELS = (1, 3, 4)
_PAUSE = 0.1
"""Seconds of a frame of an animation that does not tell, as browsers show it."""


def open_clip(value: Any, column: str, fps: float | None = None) -> Clip:
    """The clip that a value is.

    Args:
        value: What `ACCEPTED` lists.
        column: For messages.
        fps: Rate of frames that come without one: arrays, lists, folders; 25 if nothing is known.

    Raises:
        RowError: The value is no clip, or has no frames; the message names the column.
    """
    rate = fps or DEFAULT_FPS
    if isinstance(value, Mapping):
        return _of_dict(value, column, rate)
    if isinstance(value, (bytes, bytearray)):
        return _of_content(bytes(value), f"{len(value)} bytes", column)
    if isinstance(value, (str, Path)):
        return _of_path(value, column, rate)
    if isinstance(value, np.ndarray):
        return _of_array(value, column, rate)
    if isinstance(value, Sequence):
        return _of_list(value, column, rate)
    raise RowError(f"column '{column}': {type(value).__name__} is no video; expected {ACCEPTED}")


def _of_dict(value: Mapping[str, Any], column: str, rate: float) -> Clip:
    rate = _number(value.get("fps"), "fps", column) or rate
    if value.get("frames") is not None:
        frames = value["frames"]
        return (
            _of_array(frames, column, rate)
            if isinstance(frames, np.ndarray)
            else _of_list(frames, column, rate)
        )
    for key in ("bytes", "path"):
        if value.get(key):
            return open_clip(value[key], column, rate)
    keys = ", ".join(repr(key) for key in value)[:60] or "nothing"
    raise RowError(f"column '{column}': a dict with {keys} holds no video; expected {ACCEPTED}")


def _of_path(value: str | Path, column: str, rate: float) -> Clip:
    name = str(value)
    if _REMOTE.match(name):
        raise RowError(
            f"column '{column}': '{name[:60]}' is remote; download the video and give its path"
        )
    if not name.strip() or "\0" in name:
        raise RowError(f"column '{column}': the value is empty; give {ACCEPTED}")
    path = Path(name)
    if path.is_dir():
        return _of_folder(path, column, rate)
    if not path.is_file():
        below = "" if path.is_absolute() else f" below {os.getcwd()}"
        raise RowError(f"column '{column}': no file '{name[:60]}'{below}; give {ACCEPTED}")
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise RowError(f"column '{column}': '{name}' is empty; fetch or write it again")
    if start.startswith(_ANIMATIONS):
        animation = _of_animation(path, f"'{name}'", column)
        if animation is not None:
            return animation
    return open_container(path, f"'{name}'", column)


def _of_content(content: bytes, name: str, column: str) -> Clip:
    if not content:
        raise RowError(f"column '{column}': there are 0 bytes; give {ACCEPTED}")
    if content.startswith(_ANIMATIONS):
        animation = _of_animation(io.BytesIO(content), name, column)
        if animation is not None:
            return animation
    return open_container(content, name, column)


def _of_animation(source: Path | io.BytesIO, name: str, column: str) -> ListedClip | None:
    """Frames of a GIF, WebP or PNG, which Pillow reads; None where it is none of them (AVI begins as WebP does).

    The picture that a PNG has for programs without animations is no frame.
    """
    try:
        image = Image.open(source)
    except UnidentifiedImageError:
        return None
    except Exception as error:  # decoders of Pillow raise anything on damaged files
        raise _damaged_animation(name, column, error) from error
    first = int(getattr(image, "default_image", False))
    try:
        ends = np.cumsum([_seconds(image, number) for number in range(first, _frames(image))])
    except Exception as error:  # likewise
        image.close()
        raise _damaged_animation(name, column, error) from error

    def read(number: int) -> Image.Image:
        image.seek(first + number)
        return image.convert("RGBA")

    starts = np.concatenate([[0.0], ends[:-1]])
    return ListedClip(starts, float(ends[-1]), read, release=image.close)


def _frames(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1))


def _seconds(image: Image.Image, number: int) -> float:
    """How long a frame is shown; decodes it."""
    image.seek(number)
    image.load()
    return image.info.get("duration", 0) / 1000 or _PAUSE


def _damaged_animation(name: str, column: str, error: Exception) -> RowError:
    problem = str(error)[:80] or type(error).__name__
    return RowError(
        f"column '{column}': {name} is damaged or truncated ({problem}); write or fetch it again"
    )


def _of_folder(path: Path, column: str, rate: float) -> Clip:
    files = [entry for entry in path.iterdir() if entry.suffix.lower() in PICTURES]
    if not files:
        raise RowError(
            f"column '{column}': the folder '{path}' holds no pictures ({', '.join(PICTURES)})"
        )
    files.sort(key=_natural)
    return ListedClip.steady(len(files), rate, files.__getitem__)


def _natural(path: Path) -> tuple[tuple[int, str], ...]:
    """Order in which frame2 comes before frame10."""
    parts = re.findall(r"\d+|\D+", path.name)
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)


def _of_array(value: np.ndarray, column: str, rate: float) -> Clip:
    coloured = value.ndim == 4 and value.shape[3] in _CHANNELS
    if value.ndim == 3 and value.shape[2] in _CHANNELS:
        value, coloured = value[None], True
    if value.dtype != np.uint8 or not (coloured or value.ndim == 3) or value.size == 0:
        raise RowError(
            f"column '{column}': an array {value.dtype} {list(value.shape)} is no video; expected {ACCEPTED}"
        )
    return ListedClip.steady(len(value), rate, value.__getitem__)


def _of_list(value: Any, column: str, rate: float) -> Clip:
    if not isinstance(value, Sequence) or isinstance(value, str) or not len(value):
        raise RowError(
            f"column '{column}': {type(value).__name__} of no frames is no video; expected {ACCEPTED}"
        )
    return ListedClip.steady(len(value), rate, value.__getitem__)


def _number(value: Any, name: str, column: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < 1e6:
        raise RowError(f"column '{column}': {name}={value!r:.40} is to be a number above 0")
    return float(value)
