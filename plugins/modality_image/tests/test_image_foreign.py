"""Options that the shapes of another project's tensors tell."""

from __future__ import annotations

import pytest
import torch

from ofa_modality_image.patch_embed import ImagePatchEmbed
from ofa_modality_image.resnet import ImageResnet
from ofa_modality_image.vit import ImageVit
from ofacore.contract.foreign import ForeignAdapter
from ofacore.plugin import Registry
from ofacore.protocols import BuildContext, Vocabulary


def built(kind, options):
    declared = Registry.discover().component(
        "adapter", kind.__name__.replace("Image", "image_").lower()
    )
    return kind(
        BuildContext(32, {**(declared.options if declared else {}), **options}, Vocabulary(), None)
    )


@pytest.mark.parametrize("token", [False, True])
def test_patches(token: bool) -> None:
    shapes = {"proj.weight": (32, 3, 14, 14), "embed_image_positions.weight": (16 + token, 32)}
    shapes |= {"cls_token": (1, 1, 32)} if token else {}
    options = ImagePatchEmbed.foreign_options(shapes, {})
    assert options == {"patch": 14, "class_token": token, "grid": 4, "bare": True}
    assert (
        isinstance(ImagePatchEmbed, ForeignAdapter)
        and ImagePatchEmbed.length((56, 56), options) == 16 + token
    )


@pytest.mark.parametrize(("blocks", "depth"), [(6, 50), (23, 101), (36, 152)])
def test_depth_of_a_trunk(blocks: int, depth: int) -> None:
    shapes = {f"embed_images.layer3.{i}.conv1.weight": (256, 1024, 1, 1) for i in range(blocks)}
    shapes |= {"embed_image_positions.weight": (42**2 + 1, 32)}
    options = ImageResnet.foreign_options(shapes, {"sync_bn": True})
    assert (options["depth"], options["grid"], options["sync_batch_norm"]) == (depth, 42, True)


def test_sizes_of_a_tower() -> None:
    shapes = {
        "embed_images.conv1.weight": (128, 3, 16, 16),
        "embed_images.positional_embedding": (14**2 + 1, 128),
        "embed_image_positions.weight": (42**2 + 1, 32),
        **{f"embed_images.transformer.resblocks.{i}.ln_1.weight": (128,) for i in range(3)},
    }
    options = ImageVit.foreign_options(shapes, {})
    assert {
        key: options[key] for key in ("patch", "width", "layers", "heads", "resolution", "grid")
    } == {
        "patch": 16,
        "width": 128,
        "layers": 3,
        "heads": 2,
        "resolution": 224,
        "grid": 42,
    }
    own = {
        name: tuple(value.shape) for name, value in built(ImageVit, options).state_dict().items()
    }
    assert (
        ImageVit.foreign_options({**own, "embed_image_positions.weight": (42**2 + 1, 32)}, {})
        == options
    )
    assert own["embed_images.conv1.weight"] == torch.Size((128, 3, 16, 16))
