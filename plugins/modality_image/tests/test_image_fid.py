"""Distance of written pictures from their references, all together."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ofa_modality_image.fid import Fid
from ofacore.evaluation.scoring import Judged, score
from ofacore.plugin import MetricUse, Registry, UserError

RNG = np.random.default_rng(0)
PICTURES = [Image.fromarray(RNG.integers(0, 256, (20, 20, 3), np.uint8)) for _ in range(12)]
DARK = [picture.point(lambda value: value // 3) for picture in PICTURES]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A vision transformer of random weights, with its processor, as `save_pretrained` writes them."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=6,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        initializer_range=1.0,
    )
    transformers.ViTModel(config).save_pretrained(folder)
    size = {"height": 16, "width": 16}
    transformers.ViTImageProcessor(size=size).save_pretrained(folder)
    return folder


class Features(nn.Module):
    """The same encoder for torchmetrics: [N, 6] of uint8 [N, 3, 20, 20]."""

    num_features = 6

    def __init__(self, folder):
        super().__init__()
        from transformers import ViTImageProcessor, ViTModel

        self.model = ViTModel.from_pretrained(folder).eval()
        self.prepare = ViTImageProcessor.from_pretrained(folder)

    @torch.no_grad()
    def forward(self, pixels):
        images = [Image.fromarray(one.permute(1, 2, 0).numpy()) for one in pixels]
        return self.model(**self.prepare(images=images, return_tensors="pt")).pooler_output.double()


def stacked(pictures):
    return torch.stack([torch.tensor(np.asarray(one)).permute(2, 0, 1) for one in pictures])


def fid(folder, answers, references):
    metric = Fid({"path": str(folder), "weights": ""})
    metric.update(answers, references, [{}] * len(references))
    return metric


def test_it_is_the_distance_of_torchmetrics(encoder):
    from torchmetrics.image.fid import FrechetInceptionDistance

    theirs = FrechetInceptionDistance(feature=Features(encoder))
    theirs.update(stacked(PICTURES), real=True)
    theirs.update(stacked(DARK), real=False)
    found = fid(encoder, DARK, PICTURES).compute()["fid"]
    assert found == pytest.approx(float(theirs.compute()), rel=1e-4) and found > 1e-3
    assert fid(encoder, PICTURES[::-1], PICTURES).compute()["fid"] == pytest.approx(0, abs=1e-6)


def test_parts_are_joined_and_all_pictures_of_a_row_count(encoder):
    whole = fid(encoder, DARK, PICTURES).compute()
    parts = [fid(encoder, DARK[cut], PICTURES[cut]) for cut in (slice(0, 5), slice(5, None))]
    parts[1].merge(parts[0])
    assert parts[1].compute() == pytest.approx(whole)
    twice = fid(encoder, [[one, one] for one in DARK], [[one, DARK[0]] for one in PICTURES])
    assert len(twice._answers) == 24 and len(twice._references) == 12
    assert np.isnan(fid(encoder, DARK[:1], PICTURES[:1]).compute()["fid"])


def test_it_has_no_interval_of_rows_that_repeat(encoder):
    options = {"path": str(encoder)}
    rows = [{"img": picture} for picture in PICTURES]
    judged = Judged("draw", [{"img": one} for one in DARK], rows)
    (found,) = score(judged, MetricUse("fid", "img", options), Registry.discover())
    assert found.score > 0 and np.isnan(found.low) and not found.higher_is_better


def test_without_inception_and_encoder_the_way_out_is_told(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match="weights of Inception.*nothing is fetched.*option path"):
        fid("", DARK, PICTURES)
    with pytest.raises(UserError, match="fid: option path='.*none' is no folder"):
        fid(tmp_path / "none", DARK, PICTURES)


@pytest.fixture(scope="module")
def inception(tmp_path_factory):
    """Inception of random weights, in the file and by the names of torch-fidelity."""
    extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor.torch, "load", lambda *args, **options: {})
        patch.setattr(extractor.FeatureExtractorInceptionV3, "load_state_dict", lambda *state: None)
        network = extractor.FeatureExtractorInceptionV3("random", ["2048"], "none")
    file = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(network.state_dict(), file)
    return file


def test_inception_sees_what_torchmetrics_lets_it_see(inception):
    from torchmetrics.image.fid import FrechetInceptionDistance

    theirs = FrechetInceptionDistance(2048, feature_extractor_weights_path=str(inception))
    theirs.update(stacked(PICTURES[:3]), real=True)
    theirs.update(stacked(DARK[:3]), real=False)
    own = Fid({"path": "", "weights": str(inception)})
    own.update(DARK[:3], PICTURES[:3], [{}] * 3)
    for found, right in (
        (own._references, theirs.real_features_sum),
        (own._answers, theirs.fake_features_sum),
    ):
        assert np.sum(found, 0) == pytest.approx(right.numpy(), rel=1e-4, abs=1e-5)
    assert np.ptp(own._references, 0).max() > 0


def test_a_file_of_other_weights_is_refused(inception, tmp_path):
    def refused(weights):
        Fid({"path": "", "weights": str(weights)}).update(DARK, PICTURES, [{}] * len(DARK))

    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(UserError, match="other.pth' does not hold the weights of Inception"):
        refused(tmp_path / "other.pth")
    torch.save({"fc.weight": print}, tmp_path / "objects.pth")
    with pytest.raises(UserError, match="objects.pth' is damaged or holds more than tensors"):
        refused(tmp_path / "objects.pth")
    cut = tmp_path / "cut.pth"
    cut.write_bytes(inception.read_bytes()[:5000])
    with pytest.raises(UserError, match="cut.pth' is damaged"):
        refused(cut)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_a_damaged_encoder_is_told(encoder, tmp_path, name):
    shutil.copytree(encoder, tmp_path / "vit")
    (tmp_path / "vit" / name).write_bytes(b"\x93noise" * 9)
    with pytest.raises(UserError, match="fid: '.*vit' cannot be read .*; give the folder"):
        fid(tmp_path / "vit", DARK, PICTURES)


def test_an_encoder_is_never_half_random(encoder, tmp_path):
    from safetensors.torch import load_file, save_file

    def kept(keep):
        folder = tmp_path / keep.__name__
        shutil.copytree(encoder, folder)
        file = folder / "model.safetensors"
        state = {name: value for name, value in load_file(file).items() if keep(name)}
        save_file(state, file, {"format": "pt"})
        return folder

    def without_pooler(name):
        return not name.startswith("pooler")

    def without_norm(name):
        return name != "layernorm.weight"

    folder = kept(without_pooler)
    found = [fid(folder, DARK, PICTURES).compute()["fid"] for _ in range(2)]
    assert found[0] == found[1] > 1e-3
    with pytest.raises(UserError, match="fid: the weights in '.*' lack layernorm.weight"):
        fid(kept(without_norm), DARK, PICTURES)
