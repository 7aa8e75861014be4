"""Whatever a picture comes as, the same pixels arrive; whatever is none is refused by name."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofa_modality_image.loading import load_image
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
        "pil": image, "array": np.asarray(image), "bytes": content, "path": path, "text": str(path),
        "base64": base64.b64encode(content).decode(), "urlsafe": base64.urlsafe_b64encode(content).decode().rstrip("="),
        "uri": "data:image/png;base64," + base64.b64encode(content).decode(),
    }  # fmt: skip


def test_every_accepted_form_gives_the_same_pixels(forms: dict[str, object]) -> None:
    expected = np.asarray(picture())
    for name, form in forms.items():
        assert is_image(form), name
        assert np.array_equal(np.asarray(load_image(form, "img")), expected), name


def test_lists_and_numbers_are_not_one_picture() -> None:
    assert not any(is_image(value) for value in ([picture()], 3, None, np.zeros((2, 4, 4, 3), np.uint8)))


def test_exif_orientation_turns_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    picture().save(buffer, format="PNG", exif=exif)
    turned = load_image(buffer.getvalue(), "img")
    assert np.array_equal(np.asarray(turned), np.rot90(np.asarray(picture()), k=-1))


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
    Image.fromarray(np.random.default_rng(0).integers(255, size=(64, 64, 3), dtype=np.uint8)).save(buffer, format=kind)
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
