"""Scores of pictures that are written, against independent ones."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from ofa_modality_image.clip_ti import ClipTi
from ofa_modality_image.metrics import Psnr, Ssim
from ofa_modality_image.retrieval import ImageClass, ImageRetrieval
from ofacore.plugin import UserError

RNG = np.random.default_rng(0)
PICTURES = [Image.fromarray(RNG.integers(0, 256, (24, 24, 3), np.uint8)) for _ in range(8)]
WORDS = ("<|startoftext|>", "<|endoftext|>", "a</w>", "t</w>", "d</w>", *"acdert", "re", "red</w>")


def test_psnr_by_its_formula():
    given, right = (np.asarray(picture, float) for picture in PICTURES[:2])
    metric = Psnr({})
    metric.update(PICTURES[:1], [PICTURES[1:2]], [{}])
    wanted = 10 * np.log10(255**2 / ((given - right) ** 2).mean())
    assert metric.compute()["psnr"] == pytest.approx(wanted, abs=1e-3)


def test_equal_pictures_are_most_alike():
    for metric, best in ((Psnr({}), 100.0), (Ssim({}), 1.0)):
        metric.update(PICTURES, PICTURES, [{}] * len(PICTURES))
        assert metric.items() == pytest.approx([best] * len(PICTURES))


def test_the_nearest_of_several_references_counts():
    metric = Psnr({})
    metric.update(PICTURES[:1], [[PICTURES[1], PICTURES[0]]], [{}])
    assert metric.compute()["psnr"] == 100.0


def test_retrieval_of_an_answer_that_ignores_its_row_is_chance():
    metric = ImageRetrieval({"k": 2})
    metric.update([PICTURES[0]] * 8, PICTURES, [{}] * 8)
    assert metric.compute()["image_retrieval"] == pytest.approx(2 / 8)
    metric = ImageRetrieval({"k": 1})
    metric.update(PICTURES, PICTURES, [{}] * 8)
    assert metric.compute()["image_retrieval"] == 1.0


def test_the_class_of_most_of_the_nearest_references_is_that_of_an_answer():
    shades = [20, 22, 24, 200, 202, 204]
    pictures = [Image.fromarray(np.full((8, 8, 3), shade, np.uint8)) for shade in shades]
    rows = [{"kind": kind} for kind in ("dark", "dark", "bright", "bright", "bright", "bright")]
    options = {"column": "kind", "k": 3}
    parts = [ImageClass(options), ImageClass(options)]
    for part, own in zip(parts, (slice(0, 3), slice(3, 6)), strict=True):
        part.update(pictures[own], pictures[own], rows[own])
    parts[0].merge(parts[1])
    assert parts[0].items() == [1, 1, 0, 1, 1, 1]
    assert parts[0].compute() == {"image_class": pytest.approx(5 / 6)}


def test_rows_without_the_column_of_classes_are_refused():
    with pytest.raises(ValueError, match="no column 'label'"):
        ImageClass({"column": "label", "k": 1}).update(PICTURES[:1], PICTURES[:1], [{"kind": "a"}])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A CLIP of random weights, with its processor, as `save_pretrained` writes them."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("clip")
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config={
            **small,
            **heads,
            "vocab_size": len(WORDS),
            "max_position_embeddings": 16,
            "eos_token_id": 1,
        },
        vision_config={**small, **heads, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    size = {"height": 16, "width": 16}
    images = transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=size)
    transformers.CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


def test_agreement_is_the_cosine_that_the_model_itself_gives(encoder):
    from transformers import CLIPModel, CLIPProcessor

    captions = ["a red cat", "a cat", "red"]
    metric = ClipTi({"path": str(encoder), "caption": "cap"})
    metric.update(PICTURES[:3], PICTURES[:3], [{"cap": caption} for caption in captions])
    model, processor = (kind.from_pretrained(encoder) for kind in (CLIPModel, CLIPProcessor))
    seen = processor(text=captions, images=PICTURES[:3], return_tensors="pt", padding=True)
    with torch.no_grad():
        cosines = (model(**seen).logits_per_image / model.logit_scale.exp()).diagonal()
    assert metric.items() == pytest.approx(cosines.clamp(min=0).tolist(), abs=1e-4)
    assert metric.compute()["clip_ti"] == pytest.approx(np.mean(metric.items()))


def test_the_best_of_several_pictures_counts(encoder):
    several, single = (ClipTi({"path": str(encoder), "caption": "cap"}) for _ in range(2))
    several.update([PICTURES], [None], [{"cap": "a cat"}])
    single.update(PICTURES, PICTURES, [{"cap": "a cat"}] * len(PICTURES))
    assert several.compute()["clip_ti"] == pytest.approx(max(single.items()), abs=1e-5)


def test_an_encoder_that_is_none_is_told(tmp_path):
    for path, said in (("", "is no folder"), (str(tmp_path), "cannot be read")):
        with pytest.raises(UserError, match=said):
            ClipTi({"path": path, "caption": "cap"}).update(PICTURES[:1], [None], [{"cap": "a"}])
    with pytest.raises(ValueError, match="no column 'cap' but text"):
        ClipTi({"path": "", "caption": "cap"}).update(PICTURES[:1], [None], [{"text": "a"}])
