"""Pictures that are written by flow."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ofa_modality_image.flow_learning import FlowCorruption
from ofa_modality_image.patches import from_patches, to_patches
from ofacore import Generalist, Task
from ofacore.parts import unconditional_twin
from ofacore.plugin import PluginError, Registry
from ofacore.protocols import DenseSegment

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 60, 220)}
SIZES = {
    "hidden": 48,
    "ffn": 96,
    "heads": 4,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "options": {"preprocessor/image_flow": {"patch": 4, "size": 8}},
}
LINE = "[TEXT:cap,level=character] -> [IMAGE:img]"
HOLE = "[TEXT:cap,level=character] -> [IMAGE:img,inpaint=0.25]"


def plain(colour, side=8):
    return np.full((side, side, 3), COLOURS[colour], np.uint8)


ROWS = [{"cap": name, "img": plain(name)} for name in COLOURS]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    task = Task("draw", LINE, train=ROWS, prompt_slot="cap", drop_prompt=0.1)
    made = Generalist.create([task], **SIZES)
    made.fit(120, out=tmp_path_factory.mktemp("flow") / "run", samples=24, workers=0)
    return made


@pytest.mark.parametrize(("patch", "rows"), [(1, 1), (2, 3), (4, 5), (3, 2)])
def test_patches_put_together_are_the_picture(patch, rows):
    pixels = np.random.default_rng(patch).integers(0, 256, (rows * patch, 3 * patch, 3), np.uint8)
    assert np.array_equal(from_patches(to_patches(pixels, patch), rows, patch), pixels)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_caption_becomes_its_picture(model, guidance, tmp_path):
    for name, colour in COLOURS.items():
        answer = model.infer(LINE, {"cap": name}, steps=8, guidance=guidance)
        assert answer.image.size == (8, 8)
        assert np.abs(np.asarray(answer.image, float) - colour).mean() < 25, name
    answer.save(tmp_path / "answer.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "answer.png")), np.asarray(answer.image))


def test_what_is_given_stays_as_it_is(model):
    own = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    slot = "[IMAGE:img,size=16,inpaint=0.25]"
    answer = model.infer(
        f"[TEXT:cap,level=character] -> {slot}", {"cap": "red", "img": own}, steps=2
    )
    kept = np.ones((16, 16), bool)
    kept[4:12, 4:12] = False
    assert np.array_equal(np.asarray(answer.image)[kept], own[kept])
    assert not np.array_equal(np.asarray(answer.image)[~kept], own[~kept])


def test_a_mask_says_what_is_written(model):
    own, mask = plain("green", 16), np.zeros((16, 16), np.uint8)
    mask[:, 12:] = 255
    line = "[TEXT:cap,level=character] -> [IMAGE:img,size=16,inpaint=hole]"
    answer = model.infer(line, {"cap": "red", "img": own, "hole": mask}, steps=2)
    assert np.array_equal(np.asarray(answer.image)[:, :12], own[:, :12])


@pytest.mark.parametrize(
    ("line", "row", "said"),
    [
        ("[TEXT:cap] -> [IMAGE:img,size=10]", {}, "size=10 is no multiple of 4.*write size=8"),
        ("[TEXT:cap] -> [IMAGE:img,length=9]", {}, "length=9, but a picture of size=8 has 4 cells"),
        (HOLE, {}, "column 'img': inpaint needs the picture"),
        ("[TEXT:cap] -> [IMAGE:img,inpaint=hole]", {"img": plain("red")}, "the row has not"),
        ("[TEXT:cap] -> [IMAGE:img,inpaint=3]", {"img": plain("red")}, "no share of the area"),
        (HOLE, {"img": np.zeros((8, 8, 3))}, "floats counts as normalised"),
        (HOLE, {"img": b"no picture"}, "column 'img'"),
        (HOLE, {"img": np.zeros((8, 8, 2), np.uint8)}, "column 'img'"),
    ],
)
def test_what_cannot_be_written_is_told_by_name(model, line, row, said):
    with pytest.raises(Exception, match=said):
        model.infer(line, {"cap": "red", **row})


def test_guidance_needs_a_session_without_the_prompt():
    with pytest.raises(PluginError, match="prompt that can be dropped"):
        unconditional_twin(SimpleNamespace(unconditional=None), 2.0)


def test_a_column_that_two_slots_show_at_two_sizes_is_as_sharp_as_the_larger():
    line = "[IMAGE:img,size=4,augment=none] -> [IMAGE:img,size=8]"
    sharp = np.random.default_rng(1).integers(0, 256, (8, 8, 3), np.uint8)
    made = Generalist.create([Task("up", line, train=[{"img": sharp}])], **SIZES)
    encoder = made.assembly.encoder(made.assembly.plans["up"])
    example = encoder.encode(
        {"img": sharp}, rng=np.random.default_rng(0), row_id="0", split="train"
    )
    (term,) = example.terms
    assert np.array_equal(from_patches(term.labels["values"], 2, 4), sharp)


def test_the_noised_patches_lie_between_noise_and_picture():
    clean = to_patches(plain("red"), 4)
    features = {"patches": clean, "level": np.ones(4, np.float32)}
    learned = np.array([1, 2])
    segment = DenseSegment(features, (2, 2), {"values": clean[learned]}, loss_positions=learned)
    noised = FlowCorruption({})(segment, np.random.default_rng(3))
    level = noised.features["level"]
    assert level[0] == level[3] == 1 and 0 < level[1] == level[2] < 1
    assert np.array_equal(noised.features["patches"][[0, 3]], clean[[0, 3]])
    noise = (noised.features["patches"][learned] - level[1] * clean[learned]) / (1 - level[1])
    assert abs(noise.mean()) < 0.5 and 0.7 < noise.std() < 1.3
    assert noised.labels["weight"] == pytest.approx(1 / max(1 - level[1], 0.05))


def test_the_default_preprocessors_of_both_sides():
    from ofacore.plan import compile_instruction

    plan = compile_instruction("[IMAGE:a] -> [IMAGE:b]", Registry.discover())
    assert [slot.preprocessor for slot in plan.slots.values()] == ["image", "image_flow"]
