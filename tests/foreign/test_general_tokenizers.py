"""Models with a ``tokenizer.json`` of any kind: texts become the tokens of `transformers`, in any order of the rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)
from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

from ofa_foreign.exporting import export_run
from ofa_foreign.importing import import_run
from ofacore.generalist.facade import Generalist
from ofacore.ground.errors import UserError
from tests.foreign.bart import SIZES
from tests.foreign.computed import our_logits
from tests.foreign.ofasys_state import random_state, trunk, with_trunk
from tests.foreign.test_public_ofa import HUGGING_FACE, INSTRUCTION, published
from tests.foreign.test_public_ofa import SETTINGS as OFA
from tests.foreign.test_public_ofa import check as check_ofa

CORPUS = [
    "the cat sat on the mat",
    "a dog ran to the cat",
    "was it 1 or 23 dogs?",
    "the dogs were sad",
] * 3
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
TEXTS = ["The cat sat.", "dogs 23 zebra?", "the  mat on", "qué"]
"""Some have letters that no tokenizer here knows."""


def trained(tokenizer: Tokenizer, trainer: trainers.Trainer) -> Tokenizer:
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def word_pieces() -> Tokenizer:
    found = Tokenizer(models.WordPiece(unk_token="<unk>"))
    found.normalizer = normalizers.BertNormalizer(lowercase=True)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.decoder = decoders.WordPiece()
    return trained(
        found, trainers.WordPieceTrainer(vocab_size=60, special_tokens=SPECIAL, show_progress=False)
    )


def unigram() -> Tokenizer:
    found = Tokenizer(models.Unigram())
    found.normalizer = normalizers.NFKC()
    found.pre_tokenizer = pre_tokenizers.Metaspace()
    found.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=60, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    return trained(found, trainer)


def bpe_with_digits() -> Tokenizer:
    """Over bytes, but lower-cased, digit by digit, and with a token that was added."""
    found = Tokenizer(models.BPE())
    found.normalizer = normalizers.Lowercase()
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)]
    )
    found.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    trained(found, trainer).add_tokens([AddedToken("zebra")])
    return found


def words() -> Tokenizer:
    found = Tokenizer(models.WordLevel(unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.Whitespace()
    return trained(found, trainers.WordLevelTrainer(special_tokens=SPECIAL, show_progress=False))


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "word pieces": word_pieces,
    "unigram": unigram,
    "bpe with digits": bpe_with_digits,
    "words": words,
}


def saved(folder: Path, tokenizer: Tokenizer) -> BartForConditionalGeneration:
    """A BART whose folder holds one file of its tokenizer."""
    torch.manual_seed(3)
    core = {
        f"{name}_token_id": tokenizer.token_to_id(word)
        for name, word in (
            ("bos", "<s>"),
            ("pad", "<pad>"),
            ("eos", "</s>"),
            ("decoder_start", "</s>"),
        )
    }
    size = max(tokenizer.get_vocab().values()) + 1
    made = BartForConditionalGeneration(
        BartConfig(vocab_size=size, **SIZES, **core, init_std=0.2)
    ).eval()
    made.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return made


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_texts_and_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    tokenizer = KINDS[name]()
    tokenizer.enable_truncation(3)
    theirs = saved(tmp_path / "theirs", tokenizer)
    import_run(tmp_path / "theirs", tmp_path / "run")
    ours = Generalist.from_pretrained(tmp_path / "run")
    own = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "theirs" / "tokenizer.json"))
    seen = set()
    for source, target in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True):
        ids = [
            own.encode(text, add_special_tokens=False, truncation=False)
            for text in (source, target)
        ]
        read, written, found = our_logits(ours, {"source": source, "target": target})
        bos, eos = tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>")
        assert read == [bos, *ids[0], eos]
        assert written == [eos, *ids[1]] or written == [eos, bos, *ids[1]]
        expected = theirs(torch.tensor([read]), decoder_input_ids=torch.tensor([written])).logits[0]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        seen |= {token for part in ids for token in own.convert_ids_to_tokens(part)}
    assert "<unk>" in seen or name == "bpe with digits"
    mask = tokenizer.token_to_id("<mask>")
    assert mask not in our_logits(ours, {"source": "the <mask> on", "target": "mat"})[0], (
        "a text is text"
    )
    assert our_logits(ours, {"source": np.array([mask]), "target": "mat"})[0] == [bos, mask, eos]
    export_run(tmp_path / "run", tmp_path / "back", "hf-bart")
    again = load_file(tmp_path / "back" / "model.safetensors")
    assert all(
        again[key].equal(tensor) for key, tensor in theirs.state_dict().items() if key in again
    )
    assert (tmp_path / "back" / "tokenizer.json").read_bytes() == (
        tmp_path / "theirs" / "tokenizer.json"
    ).read_bytes()


@pytest.mark.parametrize("name", ["unigram", "bpe with digits"])
@torch.no_grad()
def test_an_ofa_folder_with_a_dictionary_in_another_order(name: str, tmp_path: Path) -> None:
    """The rows are those of ``vocab.json``, the tokenizer's own numbers mean nothing."""
    tokenizer = KINDS[name]()
    text = [token for token in tokenizer.get_vocab() if token not in SPECIAL]
    order = torch.randperm(len(text), generator=torch.Generator().manual_seed(2)).tolist()
    rows = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        *(text[n] for n in order),
        *(f"<code_{n}>" for n in range(4)),
        "<mask>",
    ]
    state = with_trunk(random_state(len(rows)), "image_resnet", trunk(), 1024)
    folder = tmp_path / "theirs"
    folder.mkdir()
    save_file(published(state, HUGGING_FACE), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "ofa", **OFA}))
    (folder / "vocab.json").write_text(json.dumps({word: row for row, word in enumerate(rows)}))
    tokenizer.save(str(folder / "tokenizer.json"))
    import_run(folder, tmp_path / "run", instructions=[INSTRUCTION])
    texts = {"source": "the cats 23", "target": "dog sat"}
    ids = {
        key: [rows.index(token) for token in tokenizer.encode(value).tokens]
        for key, value in texts.items()
    }
    check_ofa(tmp_path / "run", state, ids, texts)


def alien(folder: Path) -> None:
    """The tokenizer of another model, beside the dictionary of this one."""
    (folder / "vocab.json").write_text(
        json.dumps(Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab())
    )
    unigram().save(str(folder / "tokenizer.json"))


def changed(**parts: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps({**content, **parts}))

    return change


MISTAKES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "another model's": (
        alien,
        ("tokenizer.json", "tokens are not in the model's dictionary, such as"),
    ),
    "no model": (changed(model=None), ("tokenizer.json", "holds no vocabulary")),
    "unknown kind": (
        changed(model={"type": "Magic", "vocab": {"<s>": 0, "</s>": 1, "a": 2}}),
        ("tokenizer.json",),
    ),
    "a list": (
        lambda folder: (folder / "tokenizer.json").write_text("[]") and None,
        ("tokenizer.json", "expected"),
    ),
    "cut off": (
        lambda folder: (folder / "tokenizer.json").write_text('{"model": {') and None,
        ("not JSON",),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_does_not_belong_to_the_model_is_told(name: str, tmp_path: Path) -> None:
    saved(tmp_path / "theirs", word_pieces())
    change, told = MISTAKES[name]
    change(tmp_path / "theirs")
    with pytest.raises(UserError) as caught:
        import_run(tmp_path / "theirs", tmp_path / "run")
    assert [word for word in told if word not in str(caught.value)] == [], str(caught.value)
    assert not (tmp_path / "run").exists()
