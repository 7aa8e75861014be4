"""Pictures as codes: the codec, both ways of writing them, parts that are given."""

import shutil

import numpy as np
import pytest
import torch

from ofa_modality_image.codec.codec_error import CodecError
from ofa_modality_image.codec.folder import artifact_in, load_codec, save_codec
from ofa_modality_image.codec.network import CodecShape
from ofa_modality_image.codec.quantising import FiniteScalars
from ofa_modality_image.codec.training import CodecTraining, train_codec
from ofa_modality_image.masked_codes import MaskedCodes
from ofacore import Generalist, Task
from ofacore.protocols import MASK, TokenSegment

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 60, 220)}
SHAPE = CodecShape(factor=4, levels=(4, 4, 4), width=32, blocks=1)
SLOT = "[IMAGE:img,preprocess=image_vqgan,size=16{}]"
WRITTEN = "[TEXT:cap,level=character] -> " + SLOT.format("")
FILLED = "[TEXT:cap,level=character] -> " + SLOT.format(
    ",corruption=masked_codes,generator=maskgit"
)
HOLE = FILLED[:-1] + ",inpaint=0.25]"
SIZES = {"hidden": 48, "ffn": 96, "heads": 4, "encoder_layers": 1, "decoder_layers": 1}


def halves(left, right):
    """A picture of two colours, side by side."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, :8], pixels[:, 8:] = COLOURS[left], COLOURS[right]
    return pixels


ROWS = [{"cap": f"{a} {b}", "img": halves(a, b)} for a in COLOURS for b in COLOURS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A codec of these pictures."""
    pixels = np.stack([row["img"] for row in ROWS])
    codec = train_codec(pixels, SHAPE, CodecTraining(steps=200, batch=8))
    place = tmp_path_factory.mktemp("codec")
    save_codec(codec, place, {"size": 16})
    return place


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory):
    """One set of weights, trained both ways."""
    lines = f"{WRITTEN} ||| {FILLED}"
    task = Task("draw", lines, train=ROWS, prompt_slot="cap", drop_prompt=0.1)
    options = {"preprocessor/image_vqgan": {"path": str(folder)}}
    made = Generalist.create([task], **SIZES, options=options)
    made.fit(250, out=tmp_path_factory.mktemp("codes") / "run", samples=18, workers=0)
    return made


def apart(picture, row):
    return float(np.abs(np.asarray(picture, float) - row["img"]).mean())


def nearest(picture):
    return min(ROWS, key=lambda row: apart(picture, row))["cap"]


@pytest.mark.parametrize("levels", [(2,), (3, 3), (8, 5, 5, 5), (4, 7, 2), (9, 2, 6)])
def test_every_code_has_numbers_that_are_its_own(levels):
    quantise = FiniteScalars(levels)
    codes = torch.arange(int(np.prod(levels)))
    values = quantise.values(codes)
    assert values.abs().max() <= 1 and len(torch.unique(values, dim=0)) == len(codes)
    assert torch.equal(quantise.codes(values), codes)


def test_rounding_lets_gradients_through():
    z = torch.linspace(-3, 3, 12).reshape(4, 3).requires_grad_()
    rounded = FiniteScalars((8, 5, 5))(z)
    rounded.sum().backward()
    assert len(torch.unique(rounded.detach() * torch.tensor([4, 2, 2]) % 1)) == 1
    assert (z.grad > 0).all()


def test_a_codec_gives_its_pictures_back(folder):
    codec = load_codec(artifact_in(folder))
    pixels = np.stack([row["img"] for row in ROWS])
    codes = codec.encode(pixels)
    assert codes.shape == (9, 4, 4) and codes.max() < SHAPE.codes
    assert np.abs(codec.decode(codes).astype(float) - pixels).mean() < 6


def test_the_same_seed_gives_the_same_codec():
    pixels = np.stack([row["img"] for row in ROWS])
    first, second = (train_codec(pixels, SHAPE, CodecTraining(steps=3)) for _ in range(2))
    states = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in states)


@pytest.mark.parametrize("line", [WRITTEN, FILLED])
def test_the_same_weights_write_codes_in_turn_and_at_once(model, line):
    options = {"steps": 4, "code_temperature": 0.0} if line == FILLED else {}
    found = [nearest(model.infer(line, {"cap": row["cap"]}, **options).image) for row in ROWS]
    right = sum(name == row["cap"] for name, row in zip(found, ROWS, strict=True))
    assert right >= 7, found


def test_masked_weights_write_codes_one_after_the_other(model):
    options = {"steps": 16, "order": "raster", "code_temperature": 0.0, "guidance": 1.5}
    answer = model.infer(FILLED, {"cap": "red blue"}, **options)
    assert nearest(answer.image) == "red blue"


def test_given_parts_keep_their_codes(model, folder):
    """What is hidden has no say: two pictures that differ there alone are filled alike."""
    own = ROWS[1]["img"]
    other = own.copy()
    other[4:12, 4:12] = 255
    options = {"steps": 4, "code_temperature": 0.0, "choice_temperature": 0.0}
    answers = [
        np.asarray(model.infer(HOLE, {"cap": "red green", "img": img}, **options).image)
        for img in (own, other)
    ]
    assert np.array_equal(*answers)


def test_parts_are_not_given_to_codes_in_turn(model):
    line = WRITTEN[:-1] + ",inpaint=0.5]"
    with pytest.raises(Exception, match="corruption=masked_codes,generator=maskgit"):
        model.infer(line, {"cap": "red green", "img": ROWS[0]["img"]})


def test_filling_in_needs_masked_training(model):
    line = WRITTEN[:-1] + ",generator=maskgit]"
    with pytest.raises(Exception, match="write corruption=masked_codes in the slot"):
        model.infer(line, {"cap": "red green"})


def test_a_saved_model_needs_the_folder_no_more(model, folder, tmp_path):
    before = np.asarray(model.infer(FILLED, {"cap": "red blue"}, steps=2).image)
    model.save(tmp_path / "saved")
    moved = shutil.move(folder, tmp_path / "away")
    try:
        again = Generalist.from_pretrained(tmp_path / "saved")
        after = np.asarray(again.infer(FILLED, {"cap": "red blue"}, steps=2).image)
    finally:
        shutil.move(moved, folder)
    assert np.array_equal(before, after)


def test_masking_hides_learned_codes_alone():
    learned = np.array([True, False] * 8)
    segment = TokenSegment(np.arange(16), ("b",), weights=learned, inputs=np.arange(16) + 100)
    shares = []
    for seed in range(200):
        found = MaskedCodes({})(segment, np.random.default_rng(seed))
        hidden = found.inputs == MASK
        assert np.array_equal(hidden, found.weights) and hidden.any() and not hidden[~learned].any()
        assert np.array_equal(found.inputs[~hidden], np.arange(16)[~hidden] + 100)
        shares.append(hidden.sum() / 8)
    assert np.mean(shares) == pytest.approx(2 / np.pi, abs=0.06)  # the mean of cos(pi u / 2)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda folder: shutil.rmtree(folder), "there is no such folder"),
        (lambda folder: (folder / "config.json").unlink(), "it has no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "config.json").write_text('{"kind": "x"}'), "describes 'x'"),
        (lambda folder: (folder / "model.safetensors").unlink(), "is missing"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "do not fit"),
    ],
)
def test_a_folder_that_is_no_codec_is_told_by_name(folder, tmp_path, break_it, said):
    copy = tmp_path / "codec"
    shutil.copytree(folder, copy)
    break_it(copy)
    with pytest.raises(CodecError, match=said) as error:
        artifact_in(copy)
    assert str(copy) in str(error.value)


def test_sizes_of_a_codec_are_checked():
    with pytest.raises(CodecError, match="power of two"):
        CodecShape(factor=6)
    with pytest.raises(CodecError, match="multiple of the codec's factor=4"):
        train_codec(np.zeros((2, 10, 10, 3), np.uint8), CodecShape(), CodecTraining(steps=1))
    with pytest.raises(CodecError, match="no picture"):
        train_codec(np.zeros((0, 8, 8, 3), np.uint8), CodecShape(), CodecTraining(steps=1))


def test_a_vqgan_of_diffusers_is_a_codec(tmp_path):
    """Its codes and pictures are those that diffusers computes itself."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    vqgan = diffusers.VQModel(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
        num_vq_embeddings=24,
        latent_channels=4,
    ).eval()
    vqgan.quantize.embedding.weight.data.normal_()
    vqgan.save_pretrained(tmp_path)
    codec = load_codec(artifact_in(tmp_path))
    assert (codec.codes, codec.factor) == (24, 4)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    codes = codec.encode(pixels)
    assert codes.shape == (2, 4, 4) and len(np.unique(codes)) > 3
    with torch.no_grad():
        shown = vqgan(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1).sample
    wanted = ((shown + 1) * 127.5).round().clamp(0, 255).permute(0, 2, 3, 1).numpy()
    assert np.abs(codec.decode(codes).astype(float) - wanted).max() <= 1
