"""Encoding, decoding and messages of TEXT."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ofa_modality_text.manifest import MANIFEST, is_text
from ofa_modality_text.preprocessor import TextPreprocessor
from ofacore.parts import PlaneView
from ofacore.plugin import PluginError
from ofacore.protocols import BOS, EOS, MASK, SEP, Hypothesis, RowContext, RowError, SlotPlan

from .conftest import CORPUS, bound

TEXT = bound()


def _slot(side="target", **attributes):
    return SlotPlan("t", "TEXT", side, 0, "text", "token", attributes, loss=side == "target")


def _context(split="train", **closed):
    return RowContext({}, "task", split, np.random.default_rng(0), closed_sets=closed)


def _decoded(preprocessor, ids, slot):
    return preprocessor.decode(Hypothesis(ids), slot, _context())


@pytest.mark.parametrize("level", ["bpe", "character"])
@given(value=st.text())
def test_every_unicode_string_survives_the_round_trip(level, value):
    slot = _slot(level=level)
    (segment,) = TEXT.encode(value, slot, _context())
    assert segment.ids.dtype == np.int64
    assert _decoded(TEXT, segment.ids, slot) == value


@given(value=st.text(alphabet=st.sampled_from("ab '.,!\n\t\r\x1c\x1f\x85\xa0\u2003é日1_-")))
def test_word_by_word_is_the_same_as_the_tokenizer_itself(value):
    tokenizer, offset = TEXT._tokens.tokenizer, TEXT._tokens.offset
    expected = [i + offset for i in tokenizer.encode(" " + value).ids] if value else []
    assert TEXT.encode(value, _slot(), _context())[0].ids.tolist() == expected


@given(ids=st.lists(st.integers(min_value=-5, max_value=3000)))
def test_decoding_takes_any_ids(ids):
    assert isinstance(_decoded(TEXT, np.array(ids, dtype=np.int64), _slot()), str)


@given(value=st.text(max_size=20))
def test_no_token_spans_two_letters_at_character_level(value):
    slot = _slot(level="character")
    whole = TEXT.encode(value, slot, _context())[0].ids.tolist()
    single = [i for letter in value for i in TEXT.encode(letter, slot, _context())[0].ids.tolist()]
    assert whole == single


def test_core_and_foreign_tokens_leave_no_trace_in_the_text():
    ids = TEXT.encode("a cat", _slot(), _context())[0].ids
    foreign = np.array([BOS, *ids[:1], SEP, 6, 30, *ids[1:], EOS, 10**6])
    assert _decoded(TEXT, foreign, _slot()) == "a cat"


def test_a_word_is_the_same_token_at_the_beginning_and_inside():
    first = TEXT.encode("cat", _slot(), _context())[0].ids
    assert (
        TEXT.encode("a cat", _slot(), _context())[0].ids[-len(first) :].tolist() == first.tolist()
    )


def test_training_is_deterministic_in_any_order():
    shuffled = [*CORPUS, 3, ["x", "cat"]]
    random.Random(1).shuffle(shuffled)
    rng = np.random.default_rng(0)
    one = TextPreprocessor({}).fit([*CORPUS, ["x", "cat"], 3], rng)
    other = TextPreprocessor({}).fit(iter(shuffled), rng)
    assert one.digest == other.digest


def test_training_gives_the_same_tokenizer_in_another_process():
    code = f"from ofa_modality_text.tokenizer import train_bpe; print(train_bpe({CORPUS!r}, 400).to_str())"
    command = [sys.executable, "-c", code]
    runs = {
        subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)
    }
    assert len(runs) == 1


def test_the_block_is_named_by_size_and_digest():
    artifact = TextPreprocessor({}).fit([], np.random.default_rng(0))
    (block,) = TextPreprocessor({}).blocks(artifact)
    assert (block.name, block.size) == (f"text/bpe:256:{artifact.digest}", 256)
    larger = TextPreprocessor({"vocab_size": 300}).fit(CORPUS * 10, np.random.default_rng(0))
    assert TextPreprocessor({}).blocks(larger)[0].size == 300


def test_a_copy_in_another_process_encodes_the_same():
    copy = pickle.loads(pickle.dumps(TEXT))
    for value in CORPUS:
        a, b = (
            TEXT.encode(value, _slot(), _context())[0],
            copy.encode(value, _slot(), _context())[0],
        )
        assert a.ids.tolist() == b.ids.tolist()
        assert a.blocks == b.blocks


def test_numbers_ids_and_the_empty_text_are_values():
    assert _decoded(TEXT, TEXT.encode(12, _slot(), _context())[0].ids, _slot()) == "12"
    assert (
        _decoded(TEXT, TEXT.encode(np.float32(0.5), _slot(), _context())[0].ids, _slot()) == "0.5"
    )
    large = 10**400 + 1
    assert _decoded(TEXT, TEXT.encode(large, _slot(), _context())[0].ids, _slot()) == str(large)
    assert len(TEXT.encode("", _slot(), _context())[0].ids) == 0
    ids = TEXT.encode("a cat", _slot(), _context())[0].ids
    again = TEXT.encode(ids - TEXT._tokens.offset, _slot(), _context())[0].ids
    assert again.tolist() == ids.tolist()


def test_attributes_shape_the_tokens():
    def text(value, **attributes):
        return _decoded(
            TEXT, TEXT.encode(value, _slot(**attributes), _context())[0].ids, _slot(**attributes)
        )

    assert text("A Cat", uncased=True) == "a cat"
    assert text("a cat, (the) dog!", no_punctuation=True) == "a cat the dog"
    assert text("abcdef", level="character", max_length=3) == "abc"
    assert TEXT.encode("abc", _slot(level="character", length=3), _context())[0].open is False
    assert TEXT.encode("abc", _slot(disable_auto_boseos=True), _context())[0].boundaries is False
    assert TEXT.encode("abc", _slot(), _context())[0].open is True


def test_a_target_without_loss_has_no_weights():
    given_slot = SlotPlan("t", "TEXT", "target", 0, "text", "token", {"no_loss": True}, loss=False)
    segment = TEXT.encode("a cat", given_slot, _context())[0]
    assert segment.weights.tolist() == [False] * len(segment.ids)
    assert TEXT.encode("a cat", _slot(), _context())[0].weights is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"cat", r"column 't'.*got bytes b'cat'"),
        ({"a": 1}, r"got dict"),
        (True, r"got bool True"),
        (float("nan"), r"nan is no text"),
        ([0.5, 1.0], r"list of token ids"),
        ([7, 10_000], r"token ids 7 to 10000; this tokenizer has 0 to"),
        ("\ud800", r"surrogate"),
    ],
)
def test_what_is_no_text_is_named(value, message):
    with pytest.raises(RowError, match=message):
        TEXT.encode(value, _slot(), _context())


def test_a_number_of_thousands_of_digits_is_named():
    with pytest.raises(RowError, match="more digits than Python writes"):
        TEXT.encode(10**5000, _slot(), _context())


def test_a_wrong_length_is_named():
    with pytest.raises(RowError, match="3 tokens, but the slot says length=5"):
        TEXT.encode("abc", _slot(level="character", length=5), _context())


def test_one_value_and_a_list_are_told_apart():
    assert all(map(is_text, ["", "cat", 3, 0.5, np.int64(3), np.array([1, 2])]))
    assert not any(
        map(
            is_text, [["a"], [1, 2], ("a",), None, {"a": 1}, np.array([0.5]), np.zeros((2, 2), int)]
        )
    )


def test_the_manifest_can_be_read_without_heavy_libraries():
    code = "import sys, ofa_modality_text.manifest; print({'tokenizers', 'torch', 'transformers'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
    assert MANIFEST.slots[0].serves_plain_text


def test_a_value_is_shown_escaped_and_saved_as_text(tmp_path):
    assert "&lt;b&gt;" in TEXT.render("<b>")
    assert "empty" in TEXT.render(" ")
    TEXT.save("déjà\nvu", None, tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == "déjà\nvu"


@pytest.mark.parametrize("value", ["a red cat", "", "long " * 80, "wünderbar\n\nzwei"])
def test_a_value_is_saved_as_a_picture_below_that_of_its_row(tmp_path, value):
    path = tmp_path / "out.png"
    TEXT.save(value, None, path)
    with Image.open(path) as alone:
        size = alone.size
        assert (alone.convert("L").getextrema()[0] < 128) == bool(value)
    ctx = _context("infer")
    ctx.published.put(
        "img", PlaneView((400, 100), np.eye(2, 3), (400, 100), Image.new("RGB", (400, 100), "red"))
    )
    TEXT.save(value, ctx, path)
    with Image.open(path) as below:
        assert (
            below.width == 400
            and below.height >= 100 + 16
            and below.getpixel((200, 50)) == (255, 0, 0)
        )
        assert size[0] < 400
    with pytest.raises(ValueError, match="written as .txt, or as a picture"):
        TEXT.save(value, None, tmp_path / "out.wav")


def test_a_picture_of_a_text_shows_all_pictures_of_its_row(tmp_path):
    ctx = _context("infer")
    for name, colour in (("left", "red"), ("right", "blue")):
        picture = Image.new("RGB", (100, 60), colour)
        ctx.published.put(name, PlaneView((100, 60), np.eye(2, 3), (100, 60), picture))
    TEXT.save("different", ctx, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as both:
        middle = both.width // 2
        assert both.getpixel((middle - 50, 30)) == (255, 0, 0)
        assert both.getpixel((middle + 50, 30)) == (0, 0, 255)


def test_a_target_to_be_generated_is_open_unless_its_length_is_given():
    spec = TEXT.expect(_slot(), _context("infer"))
    assert (spec.blocks, spec.open, spec.length, spec.closed_set) == (
        (TEXT._block,),
        True,
        None,
        (),
    )
    spec = TEXT.expect(_slot(length=5), _context("infer"))
    assert (spec.open, spec.length) == (False, 5)


@pytest.mark.parametrize(
    "options", [{"poisson_lambda": 0}, {"replace_length": 2}, {"random_ratio": 1.5}]
)
def test_an_option_out_of_range_is_named(options):
    with pytest.raises(PluginError, match=next(iter(options))):
        TextPreprocessor(options)


@pytest.mark.parametrize("level", ["bpe", "character"])
def test_core_tokens_are_written_only_where_the_slot_says_so(level):
    def ids(text, **attributes):
        slot = _slot("source", level=level, **attributes)
        return TEXT.encode(text, slot, _context())[0].ids.tolist()

    cat, dog = ids("a cat"), ids("dog")
    assert ids("a cat <mask>dog</s>", specials=True) == [*cat, MASK, *dog, EOS]
    assert ids("<s><mask>", specials=True) == [BOS, MASK]
    assert not {BOS, EOS, MASK} & set(ids("<s>a cat <mask> dog</s>"))
    (target,) = (
        attribute for attribute in MANIFEST.slots[0].attributes if attribute.name == "specials"
    )
    assert target.sides == ("source",)
