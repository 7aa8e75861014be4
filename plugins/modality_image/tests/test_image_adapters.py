"""Adapters: declared lengths are real, a batch of mixed sizes equals its pictures one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ofa_modality_image.adapter import ImageConv, PictureAdapter
from ofa_modality_image.manifest import COMPONENTS, MANIFEST
from ofa_modality_image.patch_embed import ImagePatchEmbed
from ofa_modality_image.resnet import ImageResnet
from ofa_modality_image.vit import ImageVit
from ofacore import Generalist, Task
from ofacore.plugin import PluginError
from ofacore.protocols import BuildContext, Vocabulary

CLASSES = {
    "image_conv": ImageConv,
    "image_patch_embed": ImagePatchEmbed,
    "image_resnet": ImageResnet,
    "image_vit": ImageVit,
}
SMALL = {
    "image_vit": {"patch": 8, "width": 16, "layers": 1, "heads": 2},
    "image_conv": {"channels": 4},
}


def _options(name: str, **changes: object) -> dict[str, object]:
    component = next(part for part in COMPONENTS if part.kind == "adapter" and part.name == name)
    return {**component.options, **SMALL.get(name, {}), **changes}


def _build(name: str, **changes: object) -> PictureAdapter:
    torch.manual_seed(0)
    return CLASSES[name](BuildContext(12, _options(name, **changes), Vocabulary(), None)).eval()


def _features(shapes: list[tuple[int, int]], seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    total = sum(height * width * 3 for height, width in shapes)
    pixels = torch.randint(256, (total,), dtype=torch.uint8, generator=generator)
    return {"pixels": pixels, "statistics": torch.arange(len(shapes)) % 2}


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_length_and_coordinates_agree_with_what_embed_returns(name: str) -> None:
    adapter, options = _build(name), _options(name)
    for shape in [(16, 16), (33, 47)]:
        states = adapter.embed(_features([shape]), [shape])
        coordinates = adapter.coordinates(shape, options)
        assert states.shape == (adapter.length(shape, options), 12)
        assert coordinates.shape == (len(states), 3)
        assert coordinates.dtype == np.int64
        assert len(np.unique(coordinates, axis=0)) == len(states)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_batch_of_mixed_sizes_equals_single_pictures(name: str) -> None:
    adapter, shapes = _build(name), [(16, 16), (32, 24), (16, 16), (32, 24), (8, 8)]
    features = _features(shapes)
    together = adapter.embed(features, shapes)
    pieces = features["pixels"].split([height * width * 3 for height, width in shapes])
    singles = [
        adapter.embed(
            {"pixels": piece, "statistics": features["statistics"][number : number + 1]}, [shape]
        )
        for number, (piece, shape) in enumerate(zip(pieces, shapes, strict=True))
    ]
    torch.testing.assert_close(together, torch.cat(singles), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_every_parameter_learns_and_bf16_weights_work(name: str) -> None:
    adapter = _build(name).train()
    adapter.embed(_features([(32, 32)]), [(32, 32)]).square().sum().backward()
    assert all(parameter.grad is not None for parameter in adapter.parameters())
    states = adapter.to(torch.bfloat16).embed(_features([(32, 32)]), [(32, 32)])
    assert states.dtype == torch.bfloat16
    assert states.isfinite().all()


def test_normalisation_is_that_of_the_segment() -> None:
    adapter = _build("image_patch_embed", patch=1)
    seen = []
    adapter.states = lambda pixels: seen.append(pixels) or torch.zeros(len(pixels), 1, 12)
    pixels = torch.tensor([255, 0, 128] * 2, dtype=torch.uint8)
    adapter.embed({"pixels": pixels, "statistics": torch.tensor([0, 1])}, [(1, 1)] * 2)
    expected = [
        [1.0, -1.0, 0.00392],
        [(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225],
    ]
    torch.testing.assert_close(seen[0].flatten(1), torch.tensor(expected), rtol=1e-4, atol=1e-4)


def test_equal_content_at_different_places_is_told_apart() -> None:
    black = {
        "pixels": torch.zeros(32 * 32 * 3, dtype=torch.uint8),
        "statistics": torch.zeros(1, dtype=torch.long),
    }
    states = _build("image_patch_embed").embed(black, [(32, 32)])
    assert torch.pdist(states).min() > 1e-3


def test_resnet_keeps_its_statistics_in_training_and_reads_safetensors(tmp_path: Path) -> None:
    import torchvision
    from safetensors.torch import save_file

    source = torchvision.models.resnet50(weights=None)
    save_file(source.state_dict(), tmp_path / "r50.safetensors")
    adapter = _build("image_resnet", pretrained=str(tmp_path / "r50.safetensors")).train()
    before = adapter.embed_images.bn1.running_mean.clone()
    adapter.embed(_features([(32, 32)] * 2), [(32, 32)] * 2)
    assert torch.equal(adapter.embed_images.bn1.running_mean, before)
    assert torch.equal(adapter.embed_images.conv1.weight, source.conv1.weight)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("image_conv", {"stride": 6}, "stride=6 must be a power of two"),
        ("image_resnet", {"depth": 18}, "depth=18 is none of 50, 101, 152"),
        ("image_resnet", {"pretrained": "x.pth"}, "no file 'x.pth'"),
        ("image_vit", {"heads": 3}, "no multiple of heads=3"),
    ],
)
def test_bad_options_are_named(name: str, changes: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, PluginError), match=message):
        _build(name, **changes)


def test_an_option_that_a_constructor_refuses_is_the_users_to_mend() -> None:
    rows = [{"img": np.zeros((32, 32, 3), np.uint8), "kind": "cat"}]
    task = Task("see", "[IMAGE:img] -> [TEXT:kind]", train=rows)
    with pytest.raises(PluginError, match="stride=6 must be a power.*plugin 'image'.*when it was"):
        Generalist.create([task], options={"adapter/image_conv": {"stride": 6}})


def test_the_manifest_names_things_that_exist() -> None:
    from importlib import import_module

    targets = [part.target for part in MANIFEST.components]
    targets += [MANIFEST.slots[0].sample, MANIFEST.slots[0].row_transform]
    for target in targets:
        module, name = target.split(":")
        assert hasattr(import_module(module), name)
