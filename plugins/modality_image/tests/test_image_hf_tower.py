"""Image towers of `transformers` by local path: small ones with random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ofa_modality_image.hf_tower import ImageTower
from ofa_modality_image.manifest import COMPONENTS
from ofa_modality_image.tower_config import TowerError, statistics_of
from ofacore.generalist.facade import Generalist
from ofacore.protocols import BuildContext, Vocabulary
from ofacore.setup.task import Task

transformers = pytest.importorskip("transformers")

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
WITH_MLP = {**SIZES, "intermediate_size": 32}
CONFIGS = {
    "clip": lambda: transformers.CLIPVisionConfig(**WITH_MLP),
    "siglip": lambda: transformers.SiglipVisionConfig(**WITH_MLP),
    "dinov2": lambda: transformers.Dinov2Config(**SIZES),
    "registers": lambda: transformers.Dinov2WithRegistersConfig(**SIZES),
    "vit": lambda: transformers.ViTConfig(**WITH_MLP),
}
OPTIONS = next(part for part in COMPONENTS if part.name == "image_tower").options


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved tower of each kind."""
    found = {}
    for name, config in CONFIGS.items():
        torch.manual_seed(2)
        found[name] = tmp_path_factory.mktemp(name)
        made = config()
        transformers.MODEL_MAPPING[type(made)](made).save_pretrained(found[name])
    return found


def build(path: Path | str, **changes: Any) -> ImageTower:
    torch.manual_seed(0)
    return ImageTower(
        BuildContext(12, {**OPTIONS, "path": str(path), **changes}, Vocabulary(), None)
    ).eval()


def features(number: int, height: int, width: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(
        256, (number * height * width * 3,), dtype=torch.uint8, generator=generator
    )
    return {"pixels": pixels, "statistics": torch.zeros(number, dtype=torch.int64)}


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_states_are_the_towers_own_patches_projected(folders: dict[str, Path], name: str) -> None:
    adapter, batch = build(folders[name], bare=True), features(2, 32, 32)
    tower = transformers.AutoModel.from_pretrained(folders[name]).eval()
    pixels = batch["pixels"].view(2, 32, 32, 3).permute(0, 3, 1, 2) / 127.5 - 1.0
    with torch.no_grad():
        patches = tower(pixel_values=pixels).last_hidden_state[:, -16:]
    states = adapter.embed(batch, [(32, 32)] * 2)
    torch.testing.assert_close(states, adapter.image_proj(patches).flatten(0, 1))


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_batch_equals_its_rows_at_any_size_and_lengths_are_real(
    folders: dict[str, Path], name: str
) -> None:
    adapter, options = build(folders[name]), {**OPTIONS, "path": str(folders[name])}
    shapes = [(32, 32), (48, 33), (32, 32)]
    parts = [features(1, *shape) for shape in shapes]
    together = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    rows = [adapter.embed(part, [shape]) for part, shape in zip(parts, shapes, strict=True)]
    torch.testing.assert_close(
        adapter.embed(together, shapes), torch.cat(rows), rtol=1e-4, atol=1e-5
    )
    assert (
        [len(row) for row in rows]
        == [adapter.length(shape, options) for shape in shapes]
        == [16, 24, 16]
    )
    assert adapter.coordinates((48, 33), options)[-1].tolist() == [0, 5, 3]


def test_the_class_token_stands_first_where_there_is_one(folders: dict[str, Path]) -> None:
    plain, with_token = (
        build(folders["registers"], bare=True),
        build(folders["registers"], bare=True, class_token=True),
    )
    batch, options = (
        features(1, 32, 32),
        {**OPTIONS, "path": str(folders["registers"]), "class_token": True},
    )
    states = with_token.embed(batch, [(32, 32)])
    assert len(states) == with_token.length((32, 32), options) == 17
    assert with_token.coordinates((32, 32), options)[:2].tolist() == [[0, 0, 0], [0, 1, 1]]
    torch.testing.assert_close(states[1:], plain.embed(batch, [(32, 32)]))
    with pytest.raises(TowerError, match="siglip_vision_model has no class token"):
        build(folders["siglip"], class_token=True).embed(batch, [(32, 32)])


def test_an_earlier_layer_can_be_taken(folders: dict[str, Path]) -> None:
    batch = features(1, 32, 32)
    last, same, first = (
        build(folders["clip"], layer=layer).embed(batch, [(32, 32)]) for layer in (-1, 2, -2)
    )
    torch.testing.assert_close(last, same)
    assert (last - first).abs().max() > 1e-4


def test_a_frozen_tower_rests_and_a_learned_one_learns(folders: dict[str, Path]) -> None:
    frozen, learned = (
        build(folders["dinov2"]).train(),
        build(folders["dinov2"], frozen=False).train(),
    )
    assert not any(module.training for module in frozen.tower.modules())
    assert all(module.training for module in learned.tower.modules())
    for adapter in (frozen, learned):
        adapter.embed(features(1, 32, 32), [(32, 32)]).square().sum().backward()
    assert all(parameter.grad is None for parameter in frozen.tower.parameters())
    assert all(p.grad is not None for p in learned.parameters() if p.requires_grad)
    assert not any(parameter.requires_grad for parameter in frozen.tower.parameters())


def test_pixels_are_normalised_as_the_folder_says(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["clip"], tmp_path, dirs_exist_ok=True)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 4]}'
    )
    adapter, batch = build(tmp_path), features(1, 32, 32)
    given = (batch["pixels"].view(-1, 3) / 255 - torch.tensor([0.1, 0.2, 0.3])) / torch.tensor(
        [1, 2, 4]
    )
    own = adapter.embed({"pixels": given.flatten(), "statistics": torch.tensor([2])}, [(32, 32)])
    torch.testing.assert_close(adapter.embed(batch, [(32, 32)]), own, rtol=1e-4, atol=1e-5)


def test_what_a_processor_of_pictures_and_texts_wrote_is_heeded(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """As `CLIPProcessor.save_pretrained` writes it; it goes before, as in transformers."""
    shutil.copytree(folders["clip"], tmp_path, dirs_exist_ok=True)
    told = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1.0, 2.0, 4.0]}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": told}))
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": false}')
    wanted = {"mean": told["image_mean"], "std": told["image_std"]}
    assert statistics_of({"path": str(tmp_path)}) == wanted
    (tmp_path / "processor_config.json").write_text('{"processor_class": "CLIPProcessor"}')
    assert statistics_of({"path": str(tmp_path)}) == {"mean": [0.0] * 3, "std": [1.0] * 3}


def test_the_image_part_of_a_whole_clip_is_taken(tmp_path: Path) -> None:
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 99}
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    config = transformers.CLIPConfig(text_config={**text, **ids}, vision_config=WITH_MLP)
    whole = transformers.CLIPModel(config)
    whole.save_pretrained(tmp_path)
    adapter = build(tmp_path)
    wanted = {k: v for k, v in whole.vision_model.state_dict().items() if "position_ids" not in k}
    assert all(torch.equal(adapter.tower.state_dict()[key], value) for key, value in wanted.items())


def test_a_generalist_keeps_a_frozen_tower_without_optimiser_state_and_needs_no_folder(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "tower"
    shutil.copytree(folders["clip"], path)
    pixels = np.random.default_rng(0).integers(256, size=(4, 32, 32, 3), dtype=np.uint8)
    rows = [{"img": pixels[n], "cap": "ab"[n % 2]} for n in range(4)]
    task = Task(
        "t", "[IMAGE:img,adapter=image_tower,size=32,augment=none] -> [TEXT:cap]", train=rows
    )
    adapters = {"image_tower": {"path": str(path)}}
    model = Generalist.create(
        [task],
        "tiny",
        hidden=32,
        ffn=32,
        heads=2,
        encoder_layers=1,
        decoder_layers=1,
        adapters=adapters,
    )
    run = model.fit(2, out=tmp_path / "run", samples=2, workers=0)
    before = {
        name: value for name, value in model.model.portable_state().items() if ".tower." in name
    }
    structure = json.dumps([file.read_text() for file in run.rglob("optimizer.json")])
    assert "image_tower.image_proj" in structure
    assert ".tower." not in structure
    model.save(tmp_path / "saved")
    answer = model.infer("t", rows[0]).text
    shutil.rmtree(path)
    again = Generalist.from_pretrained(tmp_path / "saved")
    after = again.model.portable_state()
    assert before
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert again.infer("t", rows[0]).text == answer


def _broken(folder: Path, kind: str) -> None:
    if kind == "config":
        (folder / "config.json").unlink()
    elif kind == "sizes":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))
    elif kind == "deeper":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    elif kind == "weights":
        (folder / "model.safetensors").unlink()
    elif kind == "cut":
        (folder / "model.safetensors").write_bytes(b"\x08")
    elif kind == "text":
        (folder / "config.json").write_text('{"model_type": "gpt2"}')
    else:
        (folder / "config.json").write_text('{"model_type": "nothing"}')


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("config", "no file '.*config.json'; give options.adapter/image_tower.path"),
        ("sizes", r"other shapes: .*mlp.fc1.bias is \(32,\) in the file, \(64,\) here"),
        ("deeper", r"missing: .*layers\.2"),
        ("weights", "cannot be read"),
        ("cut", "cannot be read"),
        ("text", "is a gpt2, no image tower"),
        ("unknown", "no configuration that transformers knows"),
    ],
)
def test_folders_that_do_not_serve_are_told(
    folders: dict[str, Path], tmp_path: Path, kind: str, message: str
) -> None:
    shutil.copytree(folders["clip"], tmp_path, dirs_exist_ok=True)
    _broken(tmp_path, kind)
    with pytest.raises(TowerError, match=message):
        build(tmp_path)


def test_a_tower_must_be_named() -> None:
    with pytest.raises(
        TowerError, match=r"no tower was named; give options\.adapter/image_tower\.path"
    ):
        build("")


def test_a_class_token_stands_beside_places_of_its_own_model(folders: dict[str, Path]) -> None:
    """Places are added to patches, not to the class token."""
    batch = features(2, 32, 32)
    adapter = build(folders["clip"], class_token=True)
    states = adapter.embed(batch, [(32, 32)] * 2)
    assert len(states) == 2 * 17
    adapter.bare = True
    moved = (states - adapter.embed(batch, [(32, 32)] * 2)).view(2, 17, -1)
    assert moved[:, 0].abs().max() == 0
    assert moved[:, 1:].abs().max() > 1e-3


OTHERS = {
    "swin": (
        lambda: transformers.SwinConfig(),
        "a swin, which merges patches from layer to layer; take a tower",
    ),
    "convnext": (
        lambda: transformers.ConvNextConfig(),
        "a convnext, which merges patches from layer to layer",
    ),
    "siglip2": (
        lambda: transformers.Siglip2VisionConfig(),
        "takes patches of any grid in place of pictures; take one",
    ),
    "resnet": (lambda: transformers.ResNetConfig(), "a resnet, no image tower with square patches"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_towers_of_another_build_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    config, message = OTHERS[kind]
    config().save_pretrained(tmp_path)
    with pytest.raises(TowerError, match=f"'{tmp_path}/config.json' is {message}|{message}"):
        build(tmp_path)


def test_a_tower_that_hides_patches_is_refused(tmp_path: Path) -> None:
    transformers.ViTMAEModel(transformers.ViTMAEConfig(**WITH_MLP)).save_pretrained(tmp_path)
    with pytest.raises(
        TowerError, match=r"a vit_mae gives states \[1, 5, 16\] for pictures of 16 patches"
    ):
        build(tmp_path).embed(features(1, 32, 32), [(32, 32)])


@pytest.mark.parametrize("layer", [-9, -4, 3])
def test_layers_that_are_not_there_are_refused(folders: dict[str, Path], layer: int) -> None:
    with pytest.raises(TowerError, match=f"layer={layer}, but a tower of 2 layers has -3 to 2"):
        build(folders["clip"], layer=layer)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "preprocessor_config.json",
            "not json",
            "preprocessor_config.json' is no JSON .*; copy the folder again",
        ),
        ("preprocessor_config.json", "[1]", "preprocessor_config.json' holds no JSON object"),
        ("processor_config.json", "{", "/processor_config.json' is no JSON"),
        (
            "preprocessor_config.json",
            '{"image_mean": [0, 0, 0], "image_std": [1, 0, 1]}',
            "deviation of 0 is not pos",
        ),
        (
            "preprocessor_config.json",
            '{"image_mean": [0, 0], "image_std": [1, 1, 1]}',
            "are no three numbers",
        ),
        (
            "preprocessor_config.json",
            '{"image_mean": [0, 0, NaN], "image_std": [1, 1, 1]}',
            "are no three numbers",
        ),
        (
            "preprocessor_config.json",
            '{"image_mean": null, "image_std": "a"}',
            "None are no three numbers",
        ),
        ("config.json", "{", "config.json' is no JSON"),
        ("config.json", "[" * 10**5, "config.json' is no JSON"),
        ("config.json", "{}", "knows: no model_type; take a CLIP"),
        (
            "config.json",
            '{"model_type": "clip_vision_model", "hidden_size": "x"}',
            "config.json' (holds|is)",
        ),
        (
            "config.json",
            '{"model_type": "evil", "auto_map": {"AutoConfig": "evil.C"}}',
            "knows: model_type 'evil'; code that comes with a folder is never run",
        ),
    ],
)
def test_files_that_are_not_as_they_should_be_are_named(
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    content: str,
    message: str,
) -> None:
    shutil.copytree(folders["clip"], tmp_path, dirs_exist_ok=True)
    (tmp_path / file).write_text(content)
    (tmp_path / "evil.py").write_text("raise SystemExit('code of a folder was run')")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    with pytest.raises(TowerError, match=message):
        build(tmp_path)


def test_code_beside_a_known_tower_is_not_run(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["clip"], tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    auto = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (tmp_path / "config.json").write_text(json.dumps({**config, "auto_map": auto}))
    (tmp_path / "evil.py").write_text("raise SystemExit('code of a folder was run')")
    batch = features(1, 32, 32)
    expected = build(folders["clip"]).embed(batch, [(32, 32)])
    torch.testing.assert_close(build(tmp_path).embed(batch, [(32, 32)]), expected)


def test_a_folder_that_was_written_anew_is_read_anew(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    for name in ("clip", "dinov2"):
        shutil.copytree(folders[name], tmp_path, dirs_exist_ok=True)
        assert build(tmp_path).tower.config.model_type.startswith(name)
    with pytest.raises(TowerError, match="the option statistics: a deviation of 0 is not positive"):
        build(tmp_path, statistics={"mean": [0, 0, 0], "std": [1, 1, 0]})
