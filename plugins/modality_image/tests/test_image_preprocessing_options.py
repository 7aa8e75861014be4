"""Pixels given as numbers, masks by side, patches drawn in training, augmentation that moves pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_modality_image.adapter import PictureAdapter
from ofa_modality_image.manifest import COMPONENTS
from ofa_modality_image.patch_embed import ImagePatchEmbed
from ofa_modality_image.preprocessor import ImagePreprocessor
from ofa_modality_image.randaugment import OPERATIONS, rand_augment
from ofa_modality_image.sample import picture
from ofa_modality_image.transform import ImageTransform
from ofacore.protocols import BuildContext, DenseSegment, RowContext, SlotPlan, Split, Vocabulary

OPTIONS = {
    **next(part for part in COMPONENTS if part.name == "image_patch_embed").options,
    "class_token": True,
}


def encode(
    value: object, split: Split = "train", seed: int = 0, **attributes: object
) -> DenseSegment:
    slot = SlotPlan(
        "img", "IMAGE", "source", 0, "image", "image_patch_embed", {"augment": "none", **attributes}
    )
    ctx = RowContext({}, "task", split, np.random.default_rng(seed))
    row = ImageTransform({"size": 32})({"img": value}, [slot], ctx)
    (segment,) = ImagePreprocessor({"size": 32}).encode(row["img"], slot, ctx)
    assert isinstance(segment, DenseSegment)
    return segment


def adapter(**options: object) -> PictureAdapter:
    torch.manual_seed(0)
    return ImagePatchEmbed(BuildContext(12, {**OPTIONS, **options}, Vocabulary(), None)).eval()


def states(model: PictureAdapter, *segments: DenseSegment) -> torch.Tensor:
    names = segments[0].features
    joined = {n: torch.from_numpy(np.concatenate([s.features[n] for s in segments])) for n in names}
    return model.embed(joined, [segment.shape for segment in segments])


@pytest.mark.parametrize("bare", [False, True])
def test_normalised_pixels_are_taken_as_they_are_even_beside_others(bare: bool) -> None:
    plain = encode(picture())
    numbers = (plain.features["pixels"].reshape(32, 32, 3) / 127.5 - 1).astype(np.float64)
    given = encode(numbers, mean_std="imagenet")
    assert given.features["pixels"].dtype == np.float32
    model = adapter(bare=bare)
    alone, together = states(model, plain), states(model, plain, given)
    torch.testing.assert_close(together, torch.cat([alone, alone]), rtol=1e-4, atol=1e-4)


def test_normalised_pixels_can_be_looked_at() -> None:
    pixels = np.asarray(picture())
    assert ImagePreprocessor({}).render(pixels / 127.5 - 1) == ImagePreprocessor({}).render(
        picture()
    )


def test_a_mask_by_side_hides_the_square_of_its_ratio() -> None:
    white = Image.new("RGB", (32, 32), "white")
    for by, hidden in (("side", 16 * 16), ("area", 22.6**2)):
        pixels = encode(white, mask_ratio=0.5, mask_by=by).features["pixels"].reshape(32, 32, 3)
        assert abs((pixels != 255).all(axis=2).sum() - hidden) < 50
        assert (pixels[15:17, 15:17] == 128).all()


def test_normalised_pixels_are_masked_by_zeros() -> None:
    found = encode(np.ones((32, 32, 3), np.float32), mask_ratio=0.5, mask_by="side").features[
        "pixels"
    ]
    assert (found.reshape(32, 32, 3)[8:24, 8:24] == 0).all()
    assert found.sum() == 3 * (32 * 32 - 16 * 16)


def test_drawn_patches_are_those_of_the_whole_picture_and_know_where_they_are() -> None:
    model, whole, drawn = adapter(), encode(picture()), encode(picture(), sample_patches=5)
    all_states, coordinates = states(model, whole), model.coordinates(drawn.shape, OPTIONS)
    places = {
        tuple(place): row
        for place, row in zip(model.coordinates(whole.shape, OPTIONS), all_states, strict=True)
    }
    found = states(model, drawn)
    assert model.length(drawn.shape, OPTIONS) == len(found) == len(coordinates) == 1 + 5
    for place, row in zip(coordinates, found, strict=True):
        torch.testing.assert_close(row, places[tuple(place)])
    mixed = states(model, drawn, whole, encode(picture(), seed=1, sample_patches=5))
    torch.testing.assert_close(mixed[:23], torch.cat([found, all_states]))


def test_patches_are_drawn_anew_each_time_in_training_alone() -> None:
    shapes = {encode(picture(), seed=seed, sample_patches=5).shape for seed in range(4)}
    assert len({tuple(map(tuple, adapter().coordinates(shape, OPTIONS))) for shape in shapes}) > 1
    assert encode(picture(), "test", sample_patches=5).shape == (32, 32)
    assert adapter().length(encode(picture(), sample_patches=99).shape, OPTIONS) == 17


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
def test_operations_keep_the_size_and_undo_each_other_in_direction(number: int) -> None:
    changed = [OPERATIONS[number](picture(), sign) for sign in (1, -1)]
    assert all(image.size == picture().size and image.mode == "RGB" for image in changed)
    moves = number >= 5
    assert (changed[0].tobytes() != changed[1].tobytes()) == moves


def test_rand_augment_is_a_function_of_its_generator() -> None:
    def run(seed: int) -> bytes:
        return rand_augment(picture(), np.random.default_rng(seed)).tobytes()

    assert run(1) == run(1)
    assert len({run(seed) for seed in range(12)}) > 3
    one, other = (
        encode(picture(), seed=seed, augment="rand").features["pixels"].tobytes() for seed in (1, 2)
    )
    assert one != other
