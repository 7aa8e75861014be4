"""What the preprocessors put into segments."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ofa_modality_image.preprocessor import (
    ImagenetPreprocessor,
    ImagePreprocessor,
    ImagePretrainPreprocessor,
)
from ofa_modality_image.sample import picture
from ofacore.protocols import DenseSegment, Hypothesis, RowContext, SlotPlan, Split

_CLASSES = {
    "image": ImagePreprocessor,
    "imagenet": ImagenetPreprocessor,
    "imagepretrain": ImagePretrainPreprocessor,
}


def _encode(
    value: object, split: Split = "test", seed: int = 0, name: str = "image", **attributes: object
) -> DenseSegment:
    slot = SlotPlan("img", "IMAGE", "source", 0, name, "image_conv", attributes)
    ctx = RowContext({}, "task", split, np.random.default_rng(seed))
    (segment,) = _CLASSES[name]({"size": 16}).encode(value, slot, ctx)
    assert isinstance(segment, DenseSegment)
    return segment


def test_pixels_are_the_resized_picture() -> None:
    ramp = Image.fromarray(np.add.outer(np.arange(40), 3 * np.arange(56)).astype(np.uint8)).convert(
        "RGB"
    )
    segment = _encode(ramp)
    expected = np.asarray(ramp.resize((16, 16), Image.Resampling.BICUBIC)).astype(int)
    found = segment.features["pixels"].reshape(16, 16, 3)
    assert segment.shape == (16, 16)
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 3


def test_the_attribute_size_wins_over_the_option() -> None:
    assert _encode(picture(), size=24).shape == (24, 24)


def test_mask_ratio_hides_that_share_in_the_centre() -> None:
    white = Image.new("RGB", (16, 16), "white")
    pixels = _encode(white, mask_ratio=0.25).features["pixels"].reshape(16, 16, 3)
    assert (pixels[4:12, 4:12] == 128).all()
    assert (pixels != 255).any(axis=2).mean() == 0.25
    assert _encode(white).features["pixels"].min() == 255


def test_mean_std_travels_with_the_segment() -> None:
    assert _encode(picture()).features["statistics"].tolist() == [0]
    assert _encode(picture(), mean_std="imagenet").features["statistics"].tolist() == [1]


@pytest.mark.parametrize("name", sorted(_CLASSES))
def test_training_depends_on_the_generator_alone_and_none_switches_it_off(name: str) -> None:
    def pixels(seed: int, **attributes: object) -> bytes:
        return _encode(picture(), "train", seed, name, **attributes).features["pixels"].tobytes()

    assert pixels(1) == pixels(1)
    assert len({pixels(seed) for seed in range(5)}) > 1
    assert (
        pixels(1, augment="none")
        == _encode(picture(), "test", 9, name).features["pixels"].tobytes()
    )


def test_pickled_preprocessors_encode_the_same() -> None:
    slot = SlotPlan("img", "IMAGE", "source", 0, "image", "image_conv", {})
    ctx = RowContext({}, "task", "test", np.random.default_rng(0))
    copy = pickle.loads(pickle.dumps(ImagePreprocessor({"size": 8})))
    (segment,) = copy.encode(picture(), slot, ctx)
    assert segment.shape == (8, 8)


def test_render_and_save_show_the_picture(tmp_path: Path) -> None:
    preprocessor = ImagePreprocessor({})
    assert re.fullmatch(
        r'<img src="data:image/png;base64,[A-Za-z0-9+/=]+" alt="picture">',
        preprocessor.render(picture()),
    )
    preprocessor.save(picture(), None, tmp_path / "out.png")
    assert Image.open(tmp_path / "out.png").tobytes() == picture().tobytes()


def test_decode_gives_a_picture_from_pixel_values() -> None:
    slot = SlotPlan("img", "IMAGE", "target", 0, "image", "image_conv", {})
    ctx = RowContext({}, "task", "infer", np.random.default_rng(0))
    decoded = ImagePreprocessor({}).decode(
        Hypothesis(np.asarray(picture()).astype(np.float32)), slot, ctx
    )
    assert decoded.tobytes() == picture().tobytes()
