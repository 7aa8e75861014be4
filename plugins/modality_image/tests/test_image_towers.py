"""Towers: equal to the libraries they come from, frozen or learned, their weights read by path."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ofa_modality_image.adapter import PictureAdapter
from ofa_modality_image.clip_layers import QuickGelu, VisionTransformer
from ofa_modality_image.manifest import COMPONENTS
from ofa_modality_image.resnet import ImageResnet
from ofa_modality_image.vit import VARIANTS, ImageVit
from ofa_modality_image.weights import WeightsError, load_tower, read_weights
from ofacore.protocols import BuildContext, Vocabulary

SMALL_VIT = {"patch": 8, "width": 16, "layers": 2, "heads": 2, "resolution": 32}


def build(kind: type[PictureAdapter], name: str, **changes: Any) -> Any:
    component = next(part for part in COMPONENTS if part.kind == "adapter" and part.name == name)
    torch.manual_seed(0)
    return kind(BuildContext(12, {**component.options, **changes}, Vocabulary(), None)).eval()


def embed(adapter: PictureAdapter, pixels: torch.Tensor) -> torch.Tensor:
    """States [B, cells, 12] of normalised pictures [B, 3, height, width]."""
    shapes = [tuple(pixels.shape[2:])] * len(pixels)
    flat = pixels.permute(0, 2, 3, 1).reshape(-1)
    return adapter.embed(
        {"pixels": flat, "statistics": torch.full((len(pixels),), 2)}, shapes
    ).unflatten(0, (len(pixels), -1))


def pictures(number: int = 2, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.randn(number, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def resnet50() -> nn.Module:
    import torchvision

    torch.manual_seed(5)
    network = torchvision.models.resnet50(weights=None).eval()
    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 0.25 if name.endswith("bn3") else 1.0)
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_resnet_is_torchvisions_up_to_its_third_stage(
    resnet50: nn.Module, tmp_path: Path, ending: str
) -> None:
    file = tmp_path / f"r50.{ending}"
    (save_file if ending == "safetensors" else torch.save)(resnet50.state_dict(), file)
    adapter = build(ImageResnet, "image_resnet", pretrained=str(file), bare=True)
    x = pictures(2, 48, 33)
    own = nn.Sequential(*list(resnet50.children())[:7])(x).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embed(adapter, x), adapter.image_proj(own), rtol=1e-5, atol=1e-5)
    assert adapter.length((48, 33), adapter.options) == own.shape[1] == 3 * 3


def test_bare_adapters_have_the_parameters_of_ofasys_and_no_others() -> None:
    names = {
        name.split(".")[0]
        for name, _ in build(ImageResnet, "image_resnet", bare=True).named_parameters()
    }
    assert names == {"embed_images", "image_proj"}
    vit = build(ImageVit, "image_vit", **SMALL_VIT, bare=True)
    assert {name.split(".")[0] for name, _ in vit.named_parameters()} == names


def test_drop_path_drops_branches_of_whole_pictures_in_training_alone() -> None:
    adapter = build(ImageResnet, "image_resnet", drop_path=0.9, bare=True)
    x = pictures(1).repeat(8, 1, 1, 1)
    torch.testing.assert_close(
        embed(adapter, x)[0], embed(build(ImageResnet, "image_resnet", bare=True), x)[0]
    )
    trained = embed(adapter.train(), x).detach().flatten(1)
    assert len(torch.unique(trained, dim=0)) > 1


def test_statistics_are_kept_learned_or_synchronised() -> None:
    kept, learned = (
        build(ImageResnet, "image_resnet", freeze_statistics=frozen).train().embed_images
        for frozen in (True, False)
    )
    assert not any(m.training for m in kept.modules() if isinstance(m, nn.BatchNorm2d))
    assert all(m.training for m in learned.modules() if isinstance(m, nn.BatchNorm2d))
    together = build(ImageResnet, "image_resnet", sync_batch_norm=True, freeze_statistics=False)
    assert (
        together.collective
        and not build(ImageResnet, "image_resnet", sync_batch_norm=True).collective
    )
    assert not any(isinstance(module, nn.BatchNorm2d) for module in together.modules())
    x = pictures()
    plain = build(ImageResnet, "image_resnet", freeze_statistics=False)
    plain.load_state_dict(together.state_dict())
    torch.testing.assert_close(embed(together, x), embed(plain, x))


@pytest.mark.parametrize(("kind", "name"), [(ImageResnet, "image_resnet"), (ImageVit, "image_vit")])
def test_a_frozen_tower_rests_and_learns_nothing(kind: type[PictureAdapter], name: str) -> None:
    sizes = SMALL_VIT if kind is ImageVit else {}
    adapter = build(
        kind, name, frozen=True, drop_path=0.5, freeze_statistics=False, **sizes
    ).train()
    x = pictures()
    before = {key: value.clone() for key, value in adapter.embed_images.state_dict().items()}
    first = embed(adapter, x)
    first.sum().backward()
    assert torch.equal(first, embed(adapter, x))
    assert all(
        torch.equal(before[key], value) for key, value in adapter.embed_images.state_dict().items()
    )
    learned = {key for key, parameter in adapter.named_parameters() if parameter.requires_grad}
    assert learned
    assert not any(key.startswith("embed_images") for key in learned)
    assert all(parameter.grad is None for parameter in adapter.embed_images.parameters())


def test_the_variants_of_the_vit_have_the_sizes_of_the_original() -> None:
    with torch.device("meta"):
        towers = {
            n: VisionTransformer(v.resolution, v.patch, v.width, v.layers, v.heads)
            for n, v in VARIANTS.items()
        }
    found = {
        n: (tuple(t.positional_embedding.shape), tuple(t.conv1.weight.shape))
        for n, t in towers.items()
    }
    assert found == {
        "base": ((197, 768), (768, 3, 16, 16)),
        "large": ((257, 1024), (1024, 3, 14, 14)),
        "large-336": ((577, 1024), (1024, 3, 14, 14)),
        "huge": ((257, 1280), (1280, 3, 14, 14)),
    }
    assert {name: len(tower.transformer.resblocks) for name, tower in towers.items()} == {
        "base": 9,
        "large": 18,
        "large-336": 18,
        "huge": 24,
    }
    heads = {name: tower.transformer.resblocks[0].attn.num_heads for name, tower in towers.items()}
    assert heads == {"base": 12, "large": 16, "large-336": 16, "huge": 16}


def test_vit_layers_are_pre_norm_layers_of_torch_with_quick_gelu() -> None:
    adapter = build(ImageVit, "image_vit", **SMALL_VIT, bare=True)
    tower, x = adapter.embed_images, pictures()
    layer = nn.TransformerEncoderLayer(
        16, 2, 64, dropout=0.0, activation=QuickGelu(), batch_first=True, norm_first=True
    )
    states = tower.conv1(x).flatten(2).transpose(1, 2) + tower.positional_embedding[1:]
    states = tower.ln_pre(states)
    for block in tower.transformer.resblocks:
        own = block.state_dict()
        renamed = (
            ("attn.", "self_attn."),
            ("ln_", "norm"),
            ("mlp.c_fc", "linear1"),
            ("mlp.c_proj", "linear2"),
        )
        for old, new in renamed:
            own = OrderedDict((key.replace(old, new), value) for key, value in own.items())
        layer.load_state_dict(own)
        states = layer(states)
    torch.testing.assert_close(embed(adapter, x), adapter.image_proj(states))


def test_places_of_the_vit_are_interpolated_for_other_sizes() -> None:
    adapter = build(ImageVit, "image_vit", **SMALL_VIT)
    tower = adapter.embed_images
    places = tower._places(8, 2).view(8, 2, 16)
    expected = nn.functional.interpolate(
        tower.positional_embedding[1:].view(4, 4, 16).permute(2, 0, 1)[None],
        (8, 2),
        mode="bilinear",
    )
    torch.testing.assert_close(places, expected[0].permute(1, 2, 0))
    assert embed(adapter, pictures(1, 64, 16)).shape == (1, 16, 12)


def test_bare_patches_are_cut_and_others_filled_up() -> None:
    for bare, cells in ((True, 4 * 3), (False, 5 * 4)):
        adapter = build(ImageVit, "image_vit", **SMALL_VIT, bare=bare)
        assert adapter.length((39, 31), adapter.options) == cells
        assert embed(adapter, pictures(1, 39, 31)).shape[1] == cells


def test_weights_of_a_whole_clip_are_understood(tmp_path: Path) -> None:
    tower = build(ImageVit, "image_vit", **{**SMALL_VIT, "layers": 3}).embed_images
    state = {f"visual.{key}": value for key, value in tower.state_dict().items()}
    state |= {
        "visual.ln_post.weight": torch.ones(16),
        "visual.proj": torch.ones(16, 4),
        "logit_scale": torch.ones(()),
    }
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        tmp_path / "clip.pt",
    )
    adapter = build(ImageVit, "image_vit", **SMALL_VIT, pretrained=str(tmp_path / "clip.pt"))
    assert torch.equal(adapter.embed_images.conv1.weight, tower.conv1.weight)
    assert adapter.stored_options(adapter.options)["pretrained"] == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("resnet101", "unexpected: layer3.6"),
        (
            {"conv1.weight": torch.ones(3, 2)},
            r"conv1.weight is \(3, 2\) in the file, \(64, 3, 7, 7\) here; missing",
        ),
    ],
)
def test_weights_of_another_architecture_are_refused(
    tmp_path: Path, content: Any, message: str
) -> None:
    import torchvision

    if isinstance(content, str):
        content = getattr(torchvision.models, content)(weights=None).state_dict()
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=message):
        build(ImageResnet, "image_resnet", pretrained=str(tmp_path / "w.pth"))


class _Loaded:
    """Would leave a trace if a pickle were executed."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (Path.touch, (Path(self.path),))  # type: ignore[attr-defined]


def test_files_that_cannot_be_read_are_named_and_nothing_is_executed(tmp_path: Path) -> None:
    bomb = _Loaded()
    bomb.path = str(tmp_path / "trace")
    torch.save({"state_dict": bomb}, tmp_path / "bomb.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "bomb.pth").read_bytes()[:50])
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    for file, message in (
        ("bomb.pth", "damaged or holds more than tensors"),
        ("cut.pth", "damaged"),
        ("cut.safetensors", "damaged"),
        ("none.pth", "no file"),
        ("w.ckpt", "is none of .safetensors, .pth"),
    ):
        with pytest.raises(WeightsError, match=message):
            read_weights(tmp_path / file, "image_resnet")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("content", [{"a": 1}, [torch.ones(1)]])
def test_files_without_names_are_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(
        WeightsError, match=f"holds no tensors by name, but {type(content).__name__}"
    ):
        read_weights(tmp_path / "w.pth", "image_vit")


def test_a_refused_file_changes_nothing() -> None:
    tower = nn.Linear(2, 2)
    before = tower.weight.clone()
    with pytest.raises(WeightsError, match="missing: bias"):
        load_tower(tower, {"weight": torch.ones(2, 2)}, "x", "tower")
    assert torch.equal(tower.weight, before)


def test_an_unknown_variant_is_told() -> None:
    with pytest.raises(WeightsError, match="no variant 'larg'; did you mean 'large'"):
        build(ImageVit, "image_vit", variant="larg")
