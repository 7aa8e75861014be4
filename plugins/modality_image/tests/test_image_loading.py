"""Whatever a picture comes as, the same pixels arrive; whatever is none is refused by name."""

from __future__ import annotations

import base64
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, TiffImagePlugin

from ofa_modality_image.loading import load_image, read_image
from ofa_modality_image.sample import picture
from ofa_modality_image.values import is_image
from ofacore.protocols import RowError


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def forms(tmp_path: Path) -> dict[str, object]:
    image, content = picture(), _png(picture())
    path = tmp_path / "a.png"
    path.write_bytes(content)
    return {
        "pil": image,
        "array": np.asarray(image),
        "bytes": content,
        "path": path,
        "text": str(path),
        "base64": base64.b64encode(content).decode(),
        "urlsafe": base64.urlsafe_b64encode(content).decode().rstrip("="),
        "uri": "data:image/png;base64," + base64.b64encode(content).decode(),
    }


def test_every_accepted_form_gives_the_same_pixels(forms: dict[str, object]) -> None:
    expected = np.asarray(picture())
    for name, form in forms.items():
        assert is_image(form), name
        assert np.array_equal(np.asarray(load_image(form, "img")), expected), name


def test_lists_and_numbers_are_not_one_picture() -> None:
    assert not any(
        is_image(value) for value in ([picture()], 3, None, np.zeros((2, 4, 4, 3), np.uint8))
    )


def test_exif_orientation_turns_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture().save(buffer, format="PNG", exif=exif)
    turned = load_image(buffer.getvalue(), "img")
    assert np.array_equal(np.asarray(turned), np.rot90(np.asarray(picture()), k=-1))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied_or_left_as_asked(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    picture().save(buffer, format=kind, exif=exif, lossless=True)
    marked = picture()
    marked.info["exif"] = exif.tobytes()
    upright = read_image(buffer.getvalue(), "img")
    stored = read_image(buffer.getvalue(), "img", stored=True)
    assert upright.turned == (orientation != 1) and not stored.turned
    assert np.array_equal(np.asarray(upright.image), np.asarray(ImageOps.exif_transpose(marked)))
    assert np.array_equal(np.asarray(stored.image), np.asarray(picture()))


def test_a_stored_picture_leaves_the_callers_own_as_it_was() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    given = picture()
    given.info["exif"] = exif.tobytes()
    before = load_image(given, "img").size
    assert load_image(given, "img", stored=True).size == given.size
    assert load_image(given, "img").size == before


def test_a_turned_tiff_keeps_the_range_that_its_tags_tell() -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[341], info[0x0112] = 20000, 6
    buffer = io.BytesIO()
    Image.fromarray(np.full((2, 3), 10000, np.uint16)).save(buffer, format="TIFF", tiffinfo=info)
    for stored, size in ((False, (2, 3)), (True, (3, 2))):
        found = load_image(buffer.getvalue(), "img", stored=stored)
        assert found.size == size and found.getpixel((0, 0)) == (128, 128, 128)


def test_transparent_pixels_become_white() -> None:
    for mode, pixel in (("RGBA", (255, 0, 0, 0)), ("LA", (0, 0))):
        assert load_image(Image.new(mode, (2, 2), pixel), "img").getpixel((0, 0)) == (255, 255, 255)


def test_grey_pictures_keep_their_brightness() -> None:
    deep = Image.fromarray(np.full((2, 2), 65535, np.uint16))
    assert load_image(deep, "img").getpixel((0, 0)) == (255, 255, 255)
    assert load_image(np.full((2, 2), 7, np.uint8), "img").getpixel((1, 1)) == (7, 7, 7)
    assert load_image(np.full((2, 2, 1), 7, np.uint8), "img").getpixel((1, 1)) == (7, 7, 7)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_file_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "half.img"
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(255, size=(64, 64, 3), dtype=np.uint8)).save(
        buffer, format=kind
    )
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(RowError, match=r"'img'.*half\.img.*truncated"):
        load_image(path, "img")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("https://example.org/cat.png", "remote; download"),
        ("no/such/file.png", "no file 'no/such/file.png'"),
        ("no/such/file.png", "no file 'no/such/file.png' below /"),
        ("", "the value is empty"),
        (Path(__file__).parent, "is a folder"),
        (b"not a picture", "13 bytes is no usable picture"),
        (b"<!doctype html>\n<html>404", "it is text that begins with '<!doctype html> <html>404'"),
        (b"", "it is empty"),
        (b"\x00\x01", "no picture format is recognised"),
        (np.zeros((4, 4, 3), np.float32), r"float32 \[4, 4, 3\]"),
        (np.zeros((4, 4, 2), np.uint8), r"uint8 \[4, 4, 2\]"),
        (3.5, "float is no picture"),
    ],
)
def test_errors_say_what_is_wrong(value: object, message: str) -> None:
    with pytest.raises(RowError, match=message) as caught:
        load_image(value, "img")
    assert "column 'img'" in str(caught.value)


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


RED = Image.new("RGB", (3, 2), "red")
STRUCTS = {
    "its bytes": lambda path, content: {"bytes": content, "path": "unknown.png"},
    "its path": lambda path, content: {"bytes": None, "path": str(path)},
    "base64 as bytes": lambda path, content: base64.b64encode(content),
    "text of bytes": lambda path, content: str(content),
    "text of base64 as bytes": lambda path, content: str(base64.b64encode(content)),
    "base64 in a struct": lambda path, content: {"bytes": base64.b64encode(content).decode()},
}


@pytest.mark.parametrize("kind", STRUCTS)
def test_what_tables_hold_of_a_picture_is_read(kind: str, tmp_path: Path) -> None:
    content = _png(picture())
    (tmp_path / "a.png").write_bytes(content)
    value = STRUCTS[kind](tmp_path / "a.png", content)
    assert is_image(value)
    assert np.array_equal(np.asarray(load_image(value, "img")), np.asarray(picture()))


RAMP = np.arange(12).reshape(3, 4)
SCALED = np.rint(RAMP / 11 * 255).astype(np.uint8)
DEEP = {
    "floats of 0 to 1": (_file(Image.fromarray((RAMP / 11).astype(np.float32)), "TIFF"), None),
    "floats of a range that is told": (
        _file(
            Image.fromarray((RAMP * 3.0 - 5).astype(np.float32)),
            "TIFF",
            tiffinfo={340: -5.0, 341: 28.0},
        ),
        None,
    ),
    "integers of a range that is told": (
        _file(Image.fromarray((RAMP * 1000).astype(np.int32)), "TIFF", tiffinfo={341: 11000}),
        None,
    ),
    "32 bits": (_file(Image.fromarray((RAMP / 11 * (2**24 - 1)).astype(np.int32)), "TIFF"), 24),
    "16 bits": (_png(Image.fromarray((RAMP / 11 * 65535).astype(np.uint16))), None),
    "12 bits in 16": (_png(Image.fromarray((RAMP / 11 * 4095).astype(np.uint16))), 12),
    "8 bits in 16": (_png(Image.fromarray(SCALED.astype(np.uint16))), 8),
    "floats of 0 to 255": (Image.fromarray(SCALED.astype(np.float32)), 8),
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_grey_is_scaled_by_what_is_said_of_it(kind: str) -> None:
    value, depth = DEEP[kind]
    found = np.asarray(load_image(value, "img", depth)).astype(int)
    assert abs(found - SCALED[..., None]).max() <= 1


@pytest.mark.parametrize(
    ("values", "depth", "message"),
    [
        (
            RAMP * 100.0,
            None,
            "numbers go from 0 to 1100, where 0 is black and 1 is white; write depth=",
        ),
        (RAMP / 11 * np.nan, None, "nan|not finite"),
        (RAMP * 100, None, "32 bits from 0 to 1100, and nothing says which is white; write depth="),
        (
            (RAMP * 300).astype(np.uint16),
            None,
            r"largest value is 3300 of 65535.*depth=12 where 4095 .* or depth=16",
        ),
        ((RAMP * 20).astype(np.uint16), None, r"largest value is 220 .*depth=8 where 255"),
        (
            (RAMP * 300).astype(np.uint16),
            8,
            "its values go from 0 to 3300, but black is 0 and white 255",
        ),
    ],
)
def test_a_range_that_nobody_tells_is_asked_for(
    values: np.ndarray, depth: int | None, message: str
) -> None:
    kinds = {"f": np.float32, "i": np.int32, "u": np.uint16}
    with pytest.raises(RowError, match=f"column 'img': picture cannot be used: .*({message})"):
        load_image(Image.fromarray(values.astype(kinds[values.dtype.kind])), "img", depth)


def test_dark_and_black_pictures_of_16_bits_are_taken_at_their_word() -> None:
    assert load_image(Image.fromarray(np.zeros((2, 2), np.uint16)), "img").getpixel((0, 0)) == (
        0,
        0,
        0,
    )
    dark = Image.fromarray(np.full((2, 2), 2570, np.uint16))
    assert load_image(dark, "img", 16).getpixel((0, 0)) == (10, 10, 10)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 9, (9, 9, 9)),
        ("LA", (9, 255), (9, 9, 9)),
        ("P", 0, (0, 0, 0)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("YCbCr", (255, 128, 128), (255, 255, 255)),
        ("HSV", (0, 255, 255), (255, 0, 0)),
        ("PA", (0, 255), (0, 0, 0)),
    ],
)
def test_every_mode_becomes_its_colour(
    mode: str, colour: object, expected: tuple[int, int, int]
) -> None:
    assert load_image(Image.new(mode, (2, 2), colour), "img").getpixel((0, 0)) == expected


def test_transparency_in_any_form_becomes_white() -> None:
    palette = RED.convert("P")
    forms = [
        _file(palette, "PNG", transparency=palette.getpixel((0, 0))),
        _file(palette, "PNG", transparency=bytes(256)),
        _file(palette, "GIF", transparency=palette.getpixel((0, 0))),
        _file(RED, "PNG", transparency=(255, 0, 0)),
        _file(Image.new("L", (3, 2), 7), "PNG", transparency=7),
        palette.convert("PA"),
        _file(Image.fromarray(np.full((2, 3), 60000, np.uint16)), "PNG", transparency=60000),
    ]
    forms[5].putalpha(0)  # type: ignore[union-attr]
    for number, form in enumerate(forms):
        assert load_image(form, "img").getpixel((0, 0)) == (255, 255, 255), number


def test_of_a_moving_picture_the_first_is_taken() -> None:
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        moving = _file(
            RED, kind, save_all=True, append_images=[Image.new("RGB", (3, 2), "blue")], **options
        )
        assert load_image(moving, "img").getpixel((0, 0)) == (255, 0, 0)


def test_a_stored_picture_is_not_turned_and_the_other_says_that_it_was() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = _file(picture(), "JPEG", exif=exif)
    upright, stored = read_image(content, "img"), read_image(content, "img", stored=True)
    assert (upright.image.size, upright.turned) == ((32, 48), True)
    assert (stored.image.size, stored.turned) == ((48, 32), False)
    assert load_image(stored.image.resize((48, 32)), "img").size == (48, 32)
    exif[0x0112] = 77
    assert read_image(_file(picture(), "JPEG", exif=exif), "img").turned is False


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (
            b"\0\0\0\x18ftypheic" + bytes(40),
            "it is HEIC, which needs a decoder of its own; save it as JPEG",
        ),
        (b"\0\0\0\x18ftypisom" + bytes(40), "it is a video"),
        (b"%PDF-1.4\n%\xe2\xe3", "it is a PDF"),
        (bytes(128) + b"DICM", "it is DICOM"),
        (b"\x93NUMPY\x01\x00", "it is a numpy file; give the array"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid",
            "it is text that begins with 'version https://git-lfs",
        ),
        (
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
            "it is PostScript, a program",
        ),
        ({"bytes": None, "path": None}, "a dict with 'bytes', 'path' holds no picture: neither"),
        ("images\\a.png", r"no file .*; folders are parted by '/'"),
    ],
)
def test_files_of_other_kinds_are_told_by_name(start: object, message: str) -> None:
    with pytest.raises(RowError, match=message):
        load_image(start, "img")


def test_damaged_bytes_end_in_a_message_and_never_otherwise() -> None:
    """Decoders meet bytes that were changed anywhere: a picture comes out, or the row is refused."""
    rng = np.random.default_rng(0)
    files = [
        _file(picture(), kind)
        for kind in ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP", "PPM", "ICO", "TGA")
    ]
    for content in files:
        for _ in range(25):
            damaged = bytearray(content)
            for place in rng.integers(len(damaged), size=3):
                damaged[place] = rng.integers(256)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    assert load_image(bytes(damaged), "img").mode == "RGB"
                except RowError as error:
                    assert len(str(error)) < 500


def test_too_many_pixels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(RowError, match="no usable picture .*decompression bomb.* Make it smaller"):
        load_image(_png(picture()), "img")
