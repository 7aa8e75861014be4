"""Codes of a learned codebook: nearest vectors that follow what they stand for, and none that lies idle."""

import json

import numpy as np
import pytest
import torch

from ofa_modality_image.codec.codebook import Codebook
from ofa_modality_image.codec.codec_error import CodecError
from ofa_modality_image.codec.folder import PictureCodec, artifact_in, load_codec, save_codec
from ofa_modality_image.codec.network import CodecShape
from ofa_modality_image.codec.training import CodecTraining, train_codec
from ofa_modality_image.codec.use import codes_used

SHAPE = CodecShape(factor=4, width=16, blocks=1, quantiser="vq", codebook=64, depth=4)


def slopes(count, seed):
    """Pictures uint8 [count, 16, 16, 3] that turn from one colour to another."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(0, 256, (2, count, 1, 1, 3))
    ramp = np.linspace(0, 1, 16)[None, :, None, None]
    mixed = ends[0] * (1 - ramp) + ends[1] * ramp
    return np.broadcast_to(mixed, (count, 16, 16, 3)).round().astype(np.uint8)


def error(codec, pixels):
    """Root of the mean squared error of pixels."""
    coded = PictureCodec(codec, SHAPE.codes, SHAPE.factor)
    back = coded.decode(coded.encode(pixels)).astype(float)
    return np.sqrt(((back - pixels) ** 2).mean())


@pytest.fixture(scope="module")
def codec():
    return train_codec(slopes(64, 0), SHAPE, CodecTraining(steps=150, batch=8))


def test_a_codebook_learns_and_uses_its_vectors(codec):
    untrained = train_codec(slopes(64, 0), SHAPE, CodecTraining(steps=1))
    assert error(codec, slopes(16, 1)) < 0.8 * error(untrained, slopes(16, 1))
    use = codes_used(codec, slopes(64, 0))
    assert use["codes_in_use"] > 0.8
    assert 20 < use["code_perplexity"] <= SHAPE.codebook


def test_codes_are_the_nearest_vectors(codec):
    z = torch.randn(5, 7, SHAPE.depth)
    vectors = codec.quantise.vectors
    away = torch.cdist(z, vectors.expand(5, -1, -1))
    assert torch.equal(codec.quantise.codes(z), away.argmin(-1))
    codes = torch.arange(SHAPE.codebook)
    assert torch.allclose(codec.quantise(z), vectors[away.argmin(-1)], atol=1e-6)
    assert torch.equal(vectors[codec.quantise.codes(vectors)], codec.quantise.values(codes))


def test_gradients_pass_the_vectors_and_latents_are_held_to_them():
    book = Codebook(2, 2, commitment=0.5)
    book.vectors.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    z = torch.tensor([[0.9, 0.6]], requires_grad=True)
    near = book(z)
    held = book.commitment(z, near)
    assert held.item() == pytest.approx(0.5 * (0.1**2 + 0.4**2) / 2)
    (3 * near.sum()).backward()
    assert z.grad.tolist() == [[3.0, 3.0]]


def test_vectors_move_to_the_mean_of_what_they_stand_for_and_idle_ones_start_again():
    book, draw = Codebook(2, 1, commitment=0.25), torch.Generator().manual_seed(0)
    book.vectors.copy_(torch.tensor([[5.0], [1000.0]]))
    book.uses.fill_(2.0)
    latents = torch.tensor([[0.0], [0.2], [9.8], [10.0]])
    for _ in range(600):
        book.learn(latents, draw)
    assert sorted(book.vectors.flatten().tolist()) == pytest.approx([0.1, 9.9], abs=0.01)


def test_a_folder_keeps_the_codebook(codec, tmp_path):
    save_codec(codec, tmp_path, {"size": 16})
    again = load_codec(artifact_in(tmp_path))
    pixels = slopes(4, 2)
    here = PictureCodec(codec, SHAPE.codes, SHAPE.factor)
    assert again.codes == 64 and np.array_equal(again.encode(pixels), here.encode(pixels))
    assert np.array_equal(again.decode(again.encode(pixels)), here.decode(here.encode(pixels)))


def test_settings_of_finite_scalars_are_told_as_before():
    """The digest of a codec names its block of tokens, and with it the first values of their embeddings."""
    told = {"blocks": 2, "factor": 4, "levels": [8, 5, 5, 5], "width": 64}
    assert CodecShape().json() == told and CodecShape.of(told) == CodecShape()
    assert CodecShape.of(json.loads(json.dumps(SHAPE.json()))) == SHAPE


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"quantiser": "vqq"}, "quantiser=vqq must be fsq or vq"),
        ({"quantiser": "vq", "codebook": 1}, "codebook=1"),
    ],
)
def test_codebooks_that_cannot_be_are_told(settings, said):
    with pytest.raises(CodecError, match=said):
        CodecShape(**settings)
    with pytest.raises(CodecError, match="codebook"):
        CodecShape.of({**CodecShape().json(), "quantiser": "vq"})
