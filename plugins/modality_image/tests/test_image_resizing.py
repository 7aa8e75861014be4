"""Pixels are those of the usual way to resize, with the options that the model has."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from ofa_modality_image.adapter import ImageConv
from ofa_modality_image.normalisation import STATISTICS
from ofa_modality_image.preprocessor import ImagePreprocessor
from ofacore.generalist.facade import Generalist
from ofacore.plugin import PluginError
from ofacore.protocols import BuildContext, RowContext, SlotPlan, Vocabulary
from ofacore.setup.task import Task


def photo(width: int, height: int) -> Image.Image:
    """Waves and noise, of which large and small structures change when they are averaged wrongly."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).integers(0, 255, x.shape)
    waves = [127 + 100 * np.sin(x / 7 + y / 11), 127 + 100 * np.cos(x * y / 900), noise]
    return Image.fromarray(np.stack(waves, -1).clip(0, 255).astype(np.uint8))


def pixels(
    image: Image.Image, attributes: dict[str, object], options: dict[str, object]
) -> np.ndarray:
    plan = SlotPlan(
        "img", "IMAGE", "source", 0, "image", "image_conv", {"augment": "none", **attributes}
    )
    ctx = RowContext({}, "task", "train", np.random.default_rng(0))
    (segment,) = ImagePreprocessor(options).encode(image, plan, ctx)
    return segment.features["pixels"].reshape(*segment.shape[:2], 3)


@pytest.mark.parametrize("size", [(640, 427), (1000, 1500), (100, 90)])
@pytest.mark.parametrize("kind", ["bicubic", "bilinear", "nearest", "lanczos"])
def test_resizing_is_that_of_torchvision(size: tuple[int, int], kind: str) -> None:
    image = photo(*size)
    expected = functional.resize(image, [256, 256], interpolation=InterpolationMode(kind))
    for attributes, options in (
        ({"size": 256, "interpolation": kind}, {}),
        ({}, {"size": 256, "interpolation": kind}),
    ):
        assert np.array_equal(pixels(image, attributes, options), np.asarray(expected))


def test_the_usual_interpolation_is_bicubic() -> None:
    image = photo(640, 427)
    expected = image.resize((256, 256), Image.Resampling.BICUBIC)
    assert np.array_equal(pixels(image, {"size": 256}, {}), np.asarray(expected))


def test_options_that_name_nothing_are_refused() -> None:
    with pytest.raises(
        PluginError, match="option interpolation of IMAGE: 'cubic' is none of nearest,"
    ):
        ImagePreprocessor({"interpolation": "cubic"})
    with pytest.raises(
        PluginError, match="option mean_std of IMAGE: 'given' is none of half, imagenet"
    ):
        ImagePreprocessor({"mean_std": "given"})


@pytest.mark.parametrize("preprocessor", ["image", "imagepretrain"])
def test_options_of_the_model_reach_the_pixels_unspoilt(preprocessor: str) -> None:
    """A picture is resized once, to the size of the options of its own preprocessor."""
    image = photo(300, 200)
    row = {"img": image, "cap": "a"}
    task = Task(
        "t", f"[IMAGE:img,augment=none,preprocess={preprocessor}] -> [TEXT:cap]", train=[row]
    )
    options = {"size": 128, "mean_std": "imagenet", "interpolation": "bilinear"}
    model = Generalist.create([task], "tiny", preprocessors={preprocessor: options})
    rng = np.random.default_rng(0)
    example = model.assembly.encoders["t"].encode(row, split="train", rng=rng, row_id="0")
    features = example.source[0][0].features
    expected = image.resize((128, 128), Image.Resampling.BILINEAR)
    assert np.array_equal(features["pixels"].reshape(128, 128, 3), np.asarray(expected))
    assert features["statistics"].tolist() == [STATISTICS.index("imagenet")]


def test_normalised_pixels_are_those_of_the_usual_transform() -> None:
    """A JPEG of any size, resized and normalised with the means of ImageNet, as torchvision does it."""
    buffer = io.BytesIO()
    photo(640, 427).save(buffer, "JPEG")
    image = Image.open(buffer)
    resized = functional.resize(image, [64, 64], InterpolationMode.BICUBIC)
    tensor = functional.to_dtype(functional.pil_to_tensor(resized), torch.float32, scale=True)
    expected = functional.normalize(tensor, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    found = pixels(Image.open(buffer), {"size": 64, "mean_std": "imagenet"}, {})
    adapter = ImageConv(BuildContext(8, {"stride": 8, "channels": 4}, Vocabulary(), None))
    place = STATISTICS.index("imagenet")
    ours = torch.from_numpy(found.copy()).float() * adapter.scales[place] + adapter.offsets[place]
    torch.testing.assert_close(ours.permute(2, 0, 1), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.full((4, 4, 3), 255.0),
            "counts as normalised already, but goes up to 255; give pixels of 0 to 255",
        ),
        (np.zeros((0, 4, 3)), "the array has no pixels"),
        (np.full((4, 4, 3), np.inf), "not finite"),
    ],
)
def test_floats_that_are_no_normalised_pixels_are_refused(values: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pixels(values, {}, {})
