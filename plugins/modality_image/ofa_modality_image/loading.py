"""From any accepted value to an upright RGB picture."""

from __future__ import annotations

import ast
import base64
import binascii
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ofa_modality_image.depth import DepthError, grey_of, is_deep
from ofacore.protocols import RowError

ACCEPTED = (
    "a path, bytes, base64 text, a PIL image, a dict with 'bytes' or 'path', a uint8 array [height, width] "
    "or [height, width, 1|3|4], or a float array [height, width, 3] that is normalised already"
)
_ORIENTATION = 0x0112
_TURNS: Mapping[int, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the stored picture upright."""
_TURNS_BACK: Mapping[int, Image.Transpose] = {
    **_TURNS,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
"""EXIF orientation -> what makes the upright picture the stored one."""
_REMOTE = re.compile(r"^(https?|ftp|s3|gs|oss)://", re.IGNORECASE)
_BASE64 = re.compile(r"^[A-Za-z0-9+/_\-\s]+={0,2}\s*$")
_SHORTEST_BASE64 = 32
_LITERAL = re.compile(r"""^\s*b(['"])""")
_PICTURE_STARTS = ("iVBOR", "/9j/", "_9j_", "R0lGOD", "UklGR", "Qk", "SUkq", "TU0A", "AAAA")
"""How the base64 text of PNG, JPEG, GIF, WebP, BMP, TIFF, and AVIF begins."""
_SNIFFED = 40
_STUDIED = 132
_OTHERS = (
    (4, b"ftyphei", "HEIC, which needs a decoder of its own; save it as JPEG"),
    (4, b"ftyphev", "HEIC, which needs a decoder of its own; save it as JPEG"),
    (4, b"ftypmif1", "HEIF, which needs a decoder of its own; save it as JPEG"),
    (4, b"ftypavi", "AVIF, which this Pillow cannot read; update Pillow, or save it as JPEG"),
    (4, b"ftyp", "a video; give one of its frames"),
    (0, b"%PDF", "a PDF; save its page as a picture"),
    (128, b"DICM", "DICOM; save it as PNG"),
    (0, b"\x93NUMPY", "a numpy file; give the array"),
    (0, b"PK\x03\x04", "a zip archive; unpack it"),
    (0, b"\x1f\x8b", "gzip; unpack it"),
)
"""Place, mark, and what a file is that is no picture which Pillow reads."""


def is_normalised(value: Any) -> bool:
    """True for an array float [height, width, 3]: pixels that need nothing more."""
    return (
        isinstance(value, np.ndarray)
        and value.dtype.kind == "f"
        and value.ndim == 3
        and value.shape[2] == 3
    )


@dataclass(frozen=True)
class Loaded:
    """A picture, and what happened to it."""

    image: Image.Image
    """RGB."""
    turned: bool = False
    """Its EXIF orientation turned or mirrored it."""


def load_image(
    value: Any, column: str, depth: int | None = None, stored: bool = False
) -> Image.Image:
    """The picture of `read_image`."""
    return read_image(value, column, depth, stored).image


def read_image(value: Any, column: str, depth: int | None = None, stored: bool = False) -> Loaded:
    """RGB picture: EXIF orientation applied, transparency laid over white, deep grey scaled to 8 bits.

    Of several pictures in a file the first is taken. Colour profiles are not applied.

    Args:
        value: What `ACCEPTED` lists.
        column: For messages.
        depth: Bits of a grey value where the file has more than 8 and does not tell.
        stored: Leave the picture as it is stored, whatever its EXIF orientation says.

    Raises:
        RowError: The value is no picture, the file is missing, damaged or remote; the message names column and file.
    """
    reading = _Reading(column, depth, stored)
    if isinstance(value, Image.Image):
        return reading.upright(value, "picture")
    if isinstance(value, np.ndarray):
        return reading.upright(_from_array(value, column), "array")
    if isinstance(value, Mapping):
        return _from_struct(value, reading)
    if isinstance(value, (bytes, bytearray)):
        return reading.content(_picture_bytes(bytes(value)), f"{len(value)} bytes")
    if isinstance(value, Path):
        return reading.file(value, str(value))
    if isinstance(value, str):
        return _from_text(value, reading)
    raise RowError(f"column '{column}': {type(value).__name__} is no picture; expected {ACCEPTED}")


def _from_struct(value: Mapping[str, Any], reading: _Reading) -> Loaded:
    """A picture as Hugging Face stores it: its bytes, or else its path."""
    if value.get("bytes") is not None:
        return read_image(value["bytes"], reading.column, reading.depth, reading.stored)
    if value.get("path"):
        return read_image(Path(value["path"]), reading.column, reading.depth, reading.stored)
    keys = _short(", ".join(repr(key) for key in value)) or "nothing"
    problem = f"a dict with {keys} holds no picture: neither 'bytes' nor 'path'"
    raise RowError(f"column '{reading.column}': {problem}; expected {ACCEPTED}")


def _picture_bytes(content: bytes) -> bytes:
    """The bytes of a picture, from themselves or from the base64 text that they are."""
    if content[:_SNIFFED].isascii() and content.isascii():
        return _decode(content.decode("ascii"), _PICTURE_STARTS) or content
    return content


def _from_text(value: str, reading: _Reading) -> Loaded:
    column = reading.column
    if _REMOTE.match(value):
        raise RowError(
            f"column '{column}': '{_short(value)}' is remote; download the picture and give its path"
        )
    if not value.startswith("data:") and os.path.exists(value):
        return reading.file(Path(value), value)
    if not value.strip():
        raise RowError(f"column '{column}': the value is empty; give {ACCEPTED}")
    literal = _bytes_literal(value)
    if literal is not None:
        return reading.content(_picture_bytes(literal), f"the text of bytes '{_short(value)}'")
    encoded = value.partition(",")[2] if value.startswith("data:") else value
    content = _decode(encoded)
    if content is None:
        slashes = "; folders are parted by '/'" if "\\" in value else ""
        raise RowError(
            f"column '{column}': {_missing(value)}, and it is no base64 text either{slashes}"
        )
    return reading.content(content, f"base64 text '{_short(value)}'")


def _bytes_literal(text: str) -> bytes | None:
    """The bytes that a text like ``b'...'`` shows: what a table holds to which bytes were written as text."""
    if not _LITERAL.match(text):
        return None
    try:
        found = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, bytes) else None


def _decode(text: str, starts: tuple[str, ...] = ("",)) -> bytes | None:
    """Content of standard or URL-safe base64 with or without padding; None if it is something else."""
    if (
        len(text) < _SHORTEST_BASE64
        or not text.lstrip().startswith(starts)
        or not _BASE64.match(text)
    ):
        return None
    compact = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except binascii.Error:
        return None


@dataclass(frozen=True)
class _Reading:
    """For which column a picture is read, and how."""

    column: str
    depth: int | None
    stored: bool

    def content(self, content: bytes, name: str) -> Loaded:
        """The picture that a file's content is."""
        return self._open(io.BytesIO(content), name)

    def file(self, path: Path, name: str) -> Loaded:
        """The picture in a file."""
        if not path.is_file():
            problem = f"'{name}' is a folder" if path.is_dir() else _missing(name)
            raise RowError(f"column '{self.column}': {problem}")
        return self._open(path, name)

    def _open(self, source: Path | io.BytesIO, name: str) -> Loaded:
        try:
            image = Image.open(source)
        except (UnidentifiedImageError, Image.DecompressionBombError) as error:
            reason = _reason(error, source)
            raise RowError(
                f"column '{self.column}': {name} is no usable picture ({reason})"
            ) from error
        except OSError as error:
            reason = error.strerror or _short(str(error))
            raise RowError(f"column '{self.column}': {name} cannot be read ({reason})") from error
        except Exception as error:  # decoders of Pillow raise anything on damaged files
            raise self._damaged(name, error) from error
        with image:
            if image.format == "EPS":
                remedy = "it is PostScript, a program that would have to be run; save it as PNG"
                raise RowError(f"column '{self.column}': {name} is no usable picture ({remedy})")
            return self.upright(image, name)

    def upright(self, image: Image.Image, name: str) -> Loaded:
        """The picture in RGB, turned as its EXIF orientation says."""
        try:
            if image.width == 0 or image.height == 0:
                raise RowError(
                    f"column '{self.column}': {name} has no pixels ({image.width} x {image.height})"
                )
            said = _orientation(image)
            image.load()
            left = _orientation(image)  # Pillow turns a TIFF itself while it is read
            picture = _rgb(image, self.depth)
            if said == 1:
                return Loaded(picture)
            return Loaded(_turned(picture, self._turn(said, left)), not self.stored)
        except RowError:
            raise
        except DepthError as error:
            raise RowError(f"column '{self.column}': {name} cannot be used: {error}") from error
        except Exception as error:  # decoders of Pillow raise anything on damaged files
            raise self._damaged(name, error) from error

    def _turn(self, said: int, left: int) -> Image.Transpose | None:
        """What is to be done to a picture of which EXIF said one orientation, and says another now that it is read."""
        if not self.stored:
            return _TURNS.get(left)
        return _TURNS_BACK[said] if left != said else None

    def _damaged(self, name: str, error: Exception) -> RowError:
        reason = _short(str(error)) or type(error).__name__
        return RowError(f"column '{self.column}': {name} is damaged or truncated ({reason})")


def _orientation(image: Image.Image) -> int:
    """1 to 8 as EXIF has it; 1, upright, where it says nothing or nonsense."""
    if "exif" not in image.info and not image.format:
        return 1
    found = image.getexif().get(_ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def _turned(picture: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    """A picture as it is to be seen, whose views nothing turns once more; the caller's own stays as it is."""
    seen = picture.copy() if turn is None else picture.transpose(turn)
    seen.info.pop("exif", None)
    return seen


def _missing(path: str) -> str:
    """That a file is not there, and where a relative path was looked for."""
    return f"no file '{_short(path)}'" + ("" if os.path.isabs(path) else f" below {os.getcwd()}")


def _reason(error: Exception, source: Path | io.BytesIO) -> str:
    """Why Pillow refuses a file, without the place in memory that it gives to bytes."""
    if not isinstance(error, UnidentifiedImageError):
        return f"{error} Make it smaller"
    start = _start(source)
    if not start:
        return "it is empty; fetch or write it again"
    for place, mark, what in _OTHERS:
        if start[place:].startswith(mark):
            return f"it is {what}"
    text = start[:_SNIFFED]
    if text.isascii() and text.decode("ascii").replace("\n", " ").strip().isprintable():
        return f"it is text that begins with '{' '.join(text.decode('ascii').split())}'; fetch the picture itself"
    return "no picture format is recognised"


def _start(source: Path | io.BytesIO) -> bytes:
    if isinstance(source, Path):
        with source.open("rb") as file:
            return file.read(_STUDIED)
    return source.getvalue()[:_STUDIED]


def _rgb(image: Image.Image, depth: int | None) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if is_deep(image):
        return grey_of(image, depth).convert("RGB")
    if image.mode == "LAB":
        raise DepthError("its colours are LAB, which would need a colour profile; save it as RGB")
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        page = Image.new("RGB", image.size, "white")
        page.paste(layer, mask=layer.getchannel("A"))
        return page
    return image.convert("RGB")


def _from_array(values: np.ndarray, column: str) -> Image.Image:
    shaped = values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (1, 3, 4))
    if values.dtype != np.uint8 or not shaped or values.size == 0:
        shape = list(values.shape)
        raise RowError(
            f"column '{column}': an array {values.dtype} {shape} is no picture; expected {ACCEPTED}"
        )
    one_channel = values.shape[2:] == (1,)
    pixels = values[..., 0] if one_channel else values
    return Image.fromarray(np.ascontiguousarray(pixels))


def _short(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[:limit] + "..."
