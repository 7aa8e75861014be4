"""Distance of written pictures from their references, all together."""

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
