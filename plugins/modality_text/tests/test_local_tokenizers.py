"""Tokenizers from the local files of other models: equal to transformers' own, in the order of the dictionary."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ofa_modality_text.dictionary import read_dictionary, write_dictionary
from ofa_modality_text.preprocessor import TextPreprocessor
from ofa_modality_text.tokenizer import TokenizerError, train_bpe
from ofacore.protocols import Hypothesis, Vocabulary

from .conftest import CORPUS, bound

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
CHINESE = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"图里有什么?。",
    "cat",
    "Cat",
    "##s",
    "dog",
]


def _write_gpt2(
    folder: Path, names: tuple[str, str] = ("encoder.json", "vocab.bpe"), shuffled: bool = True
) -> list[str]:
    """A small GPT-2: its files as OpenAI names them and a dictionary in another order. Returns the dictionary."""
    model = json.loads(train_bpe(CORPUS, 300).to_str())["model"]
    (folder / names[0]).write_text(json.dumps(model["vocab"]), encoding="utf-8")
    rules = [" ".join(rule) for rule in model["merges"]]
    (folder / names[1]).write_text("\n".join(["#version: 0.2", *rules, ""]), encoding="utf-8")
    numbers = [str(number) for number in sorted(model["vocab"].values())]
    random.Random(3).shuffle(numbers)
    entries = [*numbers, "madeupword0000"]
    if shuffled:
        write_dictionary(folder / "dict.txt", entries)
    return entries


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> tuple[TextPreprocessor, Path, list[str]]:
    folder = tmp_path_factory.mktemp("gpt2")
    entries = _write_gpt2(folder)
    return bound([], tokenizer="gpt2", path=str(folder)), folder, entries


@pytest.fixture(scope="module")
def reference(gpt2):
    """The same files in the hands of transformers."""
    transformers = pytest.importorskip("transformers")
    vocabulary = json.loads((gpt2[1] / "encoder.json").read_text(encoding="utf-8"))
    rules = (gpt2[1] / "vocab.bpe").read_text(encoding="utf-8").split("\n")[1:-1]
    return transformers.GPT2Tokenizer(
        vocab=vocabulary, merges=[tuple(rule.split(" ")) for rule in rules]
    )


def _local(text: TextPreprocessor, value: str) -> list[int]:
    return [number - text._range.start for number in text._tokens.encode(value)]


@settings(max_examples=150, deadline=None)
@given(value=TEXTS)
def test_ids_are_those_of_transformers_gpt2_in_the_order_of_the_dictionary(gpt2, reference, value):
    text, _, entries = gpt2
    expected = (
        [entries.index(str(number)) for number in reference.encode(" " + value)] if value else []
    )
    assert _local(text, value) == expected


@settings(max_examples=150, deadline=None)
@given(value=TEXTS)
def test_any_text_comes_back(gpt2, value):
    text = gpt2[0]
    assert text._tokens.decode(text._tokens.encode(value)) == value


def test_the_block_has_the_size_and_order_of_the_dictionary(gpt2):
    text, folder, entries = gpt2
    (block,) = text.blocks(
        TextPreprocessor({"tokenizer": "gpt2", "path": str(folder)}).fit([], None)
    )
    assert block.size == len(entries) == 301
    names = text.foreign_names(
        TextPreprocessor({"tokenizer": "gpt2", "path": str(folder)}).fit([], None)
    )[block.name]
    assert [name for (name,) in names] == [f"<text>_{entry}" for entry in entries]


def test_the_files_are_not_needed_afterwards(tmp_path, slot, context):
    _write_gpt2(tmp_path)
    text = bound([], tokenizer="gpt2", path=str(tmp_path))
    for file in tmp_path.iterdir():
        file.unlink()
    ids = text.encode("the cat", slot(), context())[0].ids
    assert text.decode(Hypothesis(ids), slot(), context()) == "the cat"


def test_both_names_of_the_files_and_a_missing_dictionary_are_fine(tmp_path):
    _write_gpt2(tmp_path, ("vocab.json", "merges.txt"), shuffled=False)
    text = bound([], tokenizer="gpt2", path=str(tmp_path))
    vocabulary = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    assert _local(text, "the") == [vocabulary["Ġthe"]]


def test_chinese_word_pieces_are_those_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("\n".join(CHINESE), encoding="utf-8")
    write_dictionary(tmp_path / "dict.txt", CHINESE[:4:-1])
    text = bound([], tokenizer="bert_cn", path=str(tmp_path))
    own = transformers.BertTokenizer(
        vocab={t: n for n, t in enumerate(CHINESE)}, do_lower_case=False
    )
    order = [*CHINESE[:4:-1], "[UNK]"]
    for value in ("图里有什么?", "cats Cat dog。", "图 zebra", "   ", "有\u3000什么"):
        assert [order[number] for number in _local(text, value)] == own.tokenize(value)
    assert text._tokens.decode(text._tokens.encode("cats")) == "cats"


def test_a_vocabulary_file_alone_will_do(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(CHINESE), encoding="utf-8")
    text = bound([], path=str(tmp_path / "vocab.txt"), tokenizer="bert_cn")
    assert _local(text, "有") == [CHINESE.index("有")]


def test_word_pieces_of_an_imported_model_are_those_of_its_dictionary(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(CHINESE), encoding="utf-8")
    names = ["<s>", "<pad>", "</s>", "<unk>", "<text>_cat", "<text>_图", "<text>_##s", "<bin>_0"]
    text = TextPreprocessor({})
    artifact = text.import_files(tmp_path, names)
    ((block, found),) = text.foreign_names(artifact).items()
    assert [name for (name,) in found] == ["<text>_cat", "<text>_图", "<text>_##s", ""]
    text.bind(Vocabulary().extend(text.blocks(artifact)), artifact)
    assert block.startswith("text/wordpiece:4:")
    assert _local(text, "图cats zebra") == [1, 0, 2, 3]
    with pytest.raises(
        TokenizerError, match="none of its 16 tokens is in the dictionary of 2 names"
    ):
        text.import_files(tmp_path, ["<s>", "Ġthe"])


def test_a_dictionary_is_read_as_fairseq_does(tmp_path):
    file = tmp_path / "dict.txt"
    lines = [
        "262 18346",
        "13 5 #fairseq:overwrite",
        "262 4",
        "of the 2",
        "<bin_7> 1",
        "<mask> 1",
        "\x85 3",
        "",
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    assert read_dictionary(file) == ["262", "13", "of the", "\x85"]


def _remove(name: str):
    return lambda folder: (folder / name).unlink()


def _replace(name: str, old: str, new: str):
    def change(folder: Path) -> None:
        content = (folder / name).read_text(encoding="utf-8")
        assert old in content
        (folder / name).write_text(content.replace(old, new), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_remove("encoder.json"), "no vocab.json or encoder.json; found dict.txt, vocab.bpe"),
        (_remove("vocab.bpe"), "no merges.txt or vocab.bpe; found dict.txt, encoder.json"),
        (
            _replace("dict.txt", "madeupword0000", "907"),
            "dict.txt: 1 entries, the first '907', are none of the",
        ),
        (
            lambda folder: write_dictionary(folder / "dict.txt", ["1", "2"]),
            "dict.txt: lacks 298 of the 300 tokens",
        ),
        (
            lambda folder: (folder / "dict.txt").write_text("what is this"),
            "line 1: 'what is this' is no token",
        ),
        (
            lambda folder: (folder / "encoder.json").write_text("{"),
            "encoder.json: damaged or not JSON",
        ),
        (
            lambda folder: (folder / "encoder.json").write_text("[1]"),
            "encoder.json: holds a list of 1; expected",
        ),
        (_replace("vocab.bpe", "#version: 0.2", "a b c"), "vocab.bpe: 'a b c' is no merge"),
        (
            _replace("vocab.bpe", "#version: 0.2", "qq qq"),
            "the merge 'qq qq' needs tokens that encoder.json does not",
        ),
    ],
)
def test_files_that_do_not_belong_together_are_named(tmp_path, change, message):
    _write_gpt2(tmp_path)
    change(tmp_path)
    with pytest.raises(TokenizerError, match=message):
        bound([], tokenizer="gpt2", path=str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizer": "gtp2", "path": "x"}, "no kind of tokenizer 'gtp2'.*did you mean 'gpt2'"),
        ({"tokenizer": "bert_cn"}, "needs the option path: vocab.txt"),
        (
            {"tokenizer": "bert_cn", "path": "none.txt"},
            "no file 'none.txt'; expected BERT's vocab.txt",
        ),
        (
            {"tokenizer": "gpt2", "path": "nowhere"},
            "nowhere: no vocab.json or encoder.json; found no such folder",
        ),
    ],
)
def test_options_without_files_are_told(options, message):
    with pytest.raises(TokenizerError, match=message):
        bound([], **options)
