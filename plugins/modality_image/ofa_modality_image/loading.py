"""From any accepted value to an upright RGB picture."""

from __future__ import annotations

import ast
import base64
import binascii
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ofacore.protocols import RowError

ACCEPTED = (
    "a path, bytes, base64 text, a PIL image, a uint8 array [height, width] or [height, width, 1|3|4], "
    "or a float array [height, width, 3] that is normalised already"
)
_ORIENTATION = 0x0112
_REMOTE = re.compile(r"^(https?|ftp|s3|gs|oss)://", re.IGNORECASE)
_BASE64 = re.compile(r"^[A-Za-z0-9+/_\-\s]+={0,2}\s*$")
_SHORTEST_BASE64 = 32
_SNIFFED = 40


def is_normalised(value: Any) -> bool:
    """True for an array float [height, width, 3]: pixels that need nothing more."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.ndim == 3 and value.shape[2] == 3


def load_image(value: Any, column: str) -> Image.Image:
    """RGB picture: EXIF orientation applied, transparency laid over white, 16-bit grey scaled to 8.

    Raises:
        RowError: The value is no picture, the file is missing, damaged or remote; the message names column and file.
    """
    if isinstance(value, Image.Image):
        return _upright_rgb(value, column, "picture")
    if isinstance(value, np.ndarray):
        return _upright_rgb(_from_array(value, column), column, "array")
    if isinstance(value, (bytes, bytearray)):
        return _open(io.BytesIO(value), column, f"{len(value)} bytes")
    if isinstance(value, Path):
        return _open(value, column, str(value))
    if isinstance(value, str):
        return _from_text(value, column)
    raise RowError(f"column '{column}': {type(value).__name__} is no picture; expected {ACCEPTED}")


def _from_text(value: str, column: str) -> Image.Image:
    if _REMOTE.match(value):
        raise RowError(f"column '{column}': '{_short(value)}' is remote; download the picture and give its path")
    if not value.startswith("data:") and os.path.exists(value):
        return _open(Path(value), column, value)
    if not value.strip():
        raise RowError(f"column '{column}': the value is empty; give {ACCEPTED}")
    content = _from_literal(value)
    if content is None:
        content = _decode(value.partition(",")[2] if value.startswith("data:") else value)
    if content is None:
        raise RowError(f"column '{column}': {_missing(value)}, and it is no base64 text either")
    return _open(io.BytesIO(content), column, f"base64 text '{_short(value)}'")


def _from_literal(text: str) -> bytes | None:
    """Content of ``b'...'``, as Python writes bytes, themselves or their base64 text; None if it is something else."""
    if text[:2] not in ("b'", 'b"') or text[-1:] != text[1]:
        return None
    try:
        content: bytes = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return None
    inside = _decode(content.decode("ascii")) if content.isascii() else None
    return content if inside is None else inside


def _decode(text: str) -> bytes | None:
    """Content of standard or URL-safe base64 with or without padding; None if it is something else."""
    if len(text) < _SHORTEST_BASE64 or not _BASE64.match(text):
        return None
    compact = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except binascii.Error:
        return None


def _open(source: Path | io.BytesIO, column: str, name: str) -> Image.Image:
    if isinstance(source, Path) and not source.is_file():
        raise RowError(f"column '{column}': " + (f"'{name}' is a folder" if source.is_dir() else _missing(name)))
    try:
        with Image.open(source) as image:
            return _upright_rgb(image, column, name)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise RowError(f"column '{column}': {name} is no usable picture ({_reason(error, source)})") from error
    except OSError as error:
        raise RowError(f"column '{column}': {name} cannot be read ({error.strerror or error})") from error


def _missing(path: str) -> str:
    """That a file is not there, and where a relative path was looked for."""
    return f"no file '{_short(path)}'" + ("" if os.path.isabs(path) else f" below {os.getcwd()}")


def _reason(error: Exception, source: Path | io.BytesIO) -> str:
    """Why Pillow refuses a file, without the place in memory that it gives to bytes."""
    if not isinstance(error, UnidentifiedImageError):
        return f"{error} Make it smaller"
    start = source.read_bytes()[:_SNIFFED] if isinstance(source, Path) else source.getvalue()[:_SNIFFED]
    if not start:
        return "it is empty; fetch or write it again"
    if start.isascii() and start.decode("ascii").replace("\n", " ").strip().isprintable():
        return f"it is text that begins with '{' '.join(start.decode('ascii').split())}'; fetch the picture itself"
    return "no picture format is recognised"


def _upright_rgb(image: Image.Image, column: str, name: str) -> Image.Image:
    try:
        if ("exif" in image.info or image.format) and image.getexif().get(_ORIENTATION, 1) != 1:
            image = ImageOps.exif_transpose(image)
        if image.width == 0 or image.height == 0:
            raise RowError(f"column '{column}': {name} has no pixels ({image.width} x {image.height})")
        return _rgb(image)
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, RowError):
            raise
        raise RowError(f"column '{column}': {name} is damaged or truncated ({error})") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        image.load()
        return image
    if image.mode.startswith("I"):
        return _from_16_bit(np.asarray(image))
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        page = Image.new("RGB", image.size, "white")
        page.paste(layer, mask=layer.getchannel("A"))
        return page
    return image.convert("RGB")


def _from_16_bit(values: np.ndarray) -> Image.Image:
    scaled = values // 257 if values.max(initial=0) > 255 else values
    return Image.fromarray(scaled.clip(0, 255).astype(np.uint8)).convert("RGB")


def _from_array(values: np.ndarray, column: str) -> Image.Image:
    shaped = values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (1, 3, 4))
    if values.dtype != np.uint8 or not shaped or values.size == 0:
        shape = list(values.shape)
        raise RowError(f"column '{column}': an array {values.dtype} {shape} is no picture; expected {ACCEPTED}")
    return Image.fromarray(np.ascontiguousarray(values[..., 0] if values.shape[2:] == (1,) else values))


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[:limit] + "..."
