"""Tokenizers that were made elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from ofa_modality_text.tokenizer import TokenizerError, named_tokenizer, train_bpe
from ofacore.protocols import Hypothesis, RowError

from .conftest import CORPUS, bound


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Folder with a word-level tokenizer."""
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "cat": 1, "dog": 2, "?": 3}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_a_tokenizer_from_a_folder_is_stored_with_the_model(words, slot, context):
    text = bound([], tokenizer=str(words))
    (words / "tokenizer.json").unlink()
    segment = text.encode("a dog", slot(), context())[0]
    assert segment.blocks[0].startswith("text/wordlevel:4:")
    assert (segment.ids - text._range.start).tolist() == [0, 2]
    assert text.decode(Hypothesis(segment.ids), slot(), context()) == "a dog"


def test_a_byte_level_tokenizer_keeps_its_own_ways_and_can_spell(tmp_path, slot, context):
    file = tmp_path / "mine.json"
    train_bpe(CORPUS, 300).save(str(file))
    text = bound([], tokenizer=str(file))
    for level in ("bpe", "character"):
        ids = text.encode(" déjà 日", slot(level=level), context())[0].ids
        assert text.decode(Hypothesis(ids), slot(level=level), context()) == " déjà 日"


def test_letters_need_a_byte_level_tokenizer(words, slot, context):
    with pytest.raises(RowError, match="byte-level"):
        bound([], tokenizer=str(words)).encode("a", slot(level="character"), context())


def test_truncation_of_a_published_tokenizer_is_switched_off(words):
    file = words / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.enable_truncation(1)
    tokenizer.save(str(file))
    assert len(named_tokenizer(str(file)).encode("a cat").ids) == 2


def test_a_tokenizer_in_the_form_of_transformers_is_found_by_its_folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=train_bpe(CORPUS, 300))
    tokenizer.save_pretrained(tmp_path)
    assert named_tokenizer(str(tmp_path)).get_vocab_size() == 300


def test_what_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(TokenizerError, match="no tokenizer 'no/such/name'"):
        named_tokenizer("no/such/name")


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\x93noise"])
def test_a_damaged_file_is_told(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerError, match="tokenizer.json' is no tokenizer, or is damaged"):
        named_tokenizer(str(tmp_path))


def test_a_vocabulary_below_the_bytes_is_refused():
    with pytest.raises(TokenizerError, match="at least 256"):
        train_bpe([], 100)


def test_code_that_comes_with_a_folder_is_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    auto = {"AutoConfig": "evil.Config", "AutoTokenizer": ["evil.Tokenizer", None]}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": auto}))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "T", "auto_map": auto})
    )
    (tmp_path / "evil.py").write_text("raise SystemExit('code of a folder was run')")
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
    with pytest.raises(TokenizerError, match="no tokenizer '.*': neither a file, nor a folder"):
        named_tokenizer(str(tmp_path))
