"""A user's text never becomes special tokens, and comes back as it was given, with any kind of tokenizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from ofa_modality_text.literal import literal
from ofa_modality_text.preprocessor import TextPreprocessor
from ofacore.protocols import MASK, Hypothesis

from .conftest import bound

CORE = 6
"""Core tokens, which stand before those of any block."""
SPECIAL = ["<s>", "</s>", "<unk>", "<mask>", "<pad>"]
TEXTS = ["<s>12</s> 9", "a <mask> cat", "<unk>", "<s>", "</s></s>", "<pad><mask> mat"]
PARTS = [*SPECIAL, "<later>", "<box>", " ", "a", "日", "\n", "s>"]
CORPUS = ["a cat sits on the mat 12 9", "mask s unk pad / < >"] * 20
BYTES = pre_tokenizers.ByteLevel.alphabet()


def trained(
    model: models.Model, trainer: trainers.Trainer, before: object, after: object
) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer, tokenizer.decoder = before, after
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def byte_bpe() -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=SPECIAL, initial_alphabet=BYTES, show_progress=False
    )
    before = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found = trained(models.BPE(), trainer, before, decoders.ByteLevel())
    found.add_special_tokens([AddedToken("<later>", special=True)])
    found.add_tokens([AddedToken("<box>")])
    return found


def unigram() -> Tokenizer:
    options = {
        "vocab_size": 60,
        "special_tokens": SPECIAL,
        "unk_token": "<unk>",
        "show_progress": False,
    }
    before, after = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return trained(models.Unigram(), trainers.UnigramTrainer(**options), before, after)


def letter_bpe() -> Tokenizer:
    trainer = trainers.BpeTrainer(vocab_size=100, special_tokens=SPECIAL, show_progress=False)
    return trained(
        models.BPE(unk_token="<unk>"), trainer, pre_tokenizers.Metaspace(), decoders.Metaspace()
    )


def word_pieces() -> Tokenizer:
    trainer = trainers.WordPieceTrainer(vocab_size=100, special_tokens=SPECIAL, show_progress=False)
    before, after = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    return trained(models.WordPiece(unk_token="<unk>"), trainer, before, after)


def whole_words() -> Tokenizer:
    trainer = trainers.WordLevelTrainer(vocab_size=100, special_tokens=SPECIAL, show_progress=False)
    return trained(
        models.WordLevel(unk_token="<unk>"),
        trainer,
        pre_tokenizers.WhitespaceSplit(),
        decoders.Fuse(),
    )


EXACT = {"byte_bpe": byte_bpe, "unigram": unigram, "letter_bpe": letter_bpe}
KINDS = {**EXACT, "word_pieces": word_pieces, "whole_words": whole_words}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Tokenizer, TextPreprocessor]]:
    found = {}
    for name, make in KINDS.items():
        folder: Path = tmp_path_factory.mktemp(name)
        tokenizer = make()
        tokenizer.save(str(folder / "tokenizer.json"))
        found[name] = tokenizer, bound([], tokenizer=str(folder))
    return found


@pytest.mark.parametrize("name", KINDS)
def test_no_special_token_but_the_unknown_one(name, made, slot, context):
    tokenizer, text = made[name]
    kept = {"word_pieces", "whole_words"}
    special = {
        tokenizer.token_to_id(token) for token in SPECIAL if not (name in kept and token == "<unk>")
    }
    for value in TEXTS:
        ids = text.encode(value, slot(), context())[0].ids
        assert not special & set((ids - text._range.start).tolist())
        assert min(ids) >= CORE


@pytest.mark.parametrize("name", EXACT)
def test_what_spells_a_special_token_comes_back(name, made, slot, context):
    text = made[name][1]
    for value in TEXTS:
        ids = text.encode(value, slot(), context())[0].ids
        assert text.decode(Hypothesis(ids), slot(), context()) == value


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=st.lists(st.sampled_from(PARTS), max_size=8).map("".join))
def test_any_mixture_comes_back_over_bytes(value, made, slot, context):
    text = made["byte_bpe"][1]
    for level in ("bpe", "character"):
        ids = text.encode(value, slot(level=level), context())[0].ids
        assert text.decode(Hypothesis(ids), slot(level=level), context()) == value


@settings(max_examples=60, deadline=None)
@given(value=st.text(alphabet="acts on the mat129 é", max_size=20))
def test_other_texts_have_the_tokens_that_they_always_had(value):
    for tokenizer in ORIGINALS:
        assert literal(tokenizer).encode(value, add_special_tokens=False).ids == (
            tokenizer.encode(value, add_special_tokens=False).ids
        )


ORIGINALS = [make() for make in KINDS.values()]


def test_members_and_phrases_and_the_bpe_of_our_own(made, slot, context):
    for text in (made["byte_bpe"][1], bound(["<s>", "a </s> b", "<mask>"])):
        choosing = slot(closed_set=True)
        values = ("<s>", "</s>", "<mask>", "<pad><eos>")
        spec = text.expect(choosing, context(t=values))
        found = [text.decode(Hypothesis(ids), choosing, context()) for ids in spec.closed_set]
        assert tuple(found) == values
        assert all(len(ids) and ids.min() >= CORE for ids in spec.closed_set)


def test_a_masked_source_holds_the_mask_of_the_model_alone(made, slot, context):
    tokenizer, text = made["byte_bpe"]
    masked = text.encode("<mask> a cat <s> sits", slot(side="source", mask_ratio=1.0), context())[
        0
    ].ids
    assert set(masked.tolist()) == {MASK}
    assert tokenizer.token_to_id("<mask>") + text._range.start not in masked


def test_ids_are_taken_as_they_are(made, slot, context):
    tokenizer, text = made["byte_bpe"]
    mask = tokenizer.token_to_id("<mask>")
    ids = text.encode(np.array([mask]), slot(), context())[0].ids
    assert ids.tolist() == [mask + text._range.start]
