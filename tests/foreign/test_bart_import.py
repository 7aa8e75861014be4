"""A BART of Hugging Face computes here what it computes there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BartForConditionalGeneration

from ofa_foreign.exporting import export_run
from ofa_foreign.formats import bart_names
from ofa_foreign.formats.bart_search import search_of
from ofa_foreign.importing import ARTIFACT, DICTIONARY, import_run
from ofacore.checkpoint import CheckpointError
from ofacore.generalist.facade import Generalist
from tests.foreign.bart import save_bart
from tests.foreign.computed import answers, our_logits

VARIATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled": {"scale_embedding": True},
    "deep": {
        "encoder_layers": 3,
        "decoder_layers": 1,
        "d_model": 24,
        "encoder_attention_heads": 3,
        "decoder_attention_heads": 3,
    },
    "relu": {"activation_function": "relu", "encoder_ffn_dim": 40, "decoder_ffn_dim": 40},
    "forced": {"forced_bos_token_id": 0},
    "shuffled": {"shuffled": True},
    "unnamed": {"unnamed": 5},
    "odd heads": {"d_model": 15, "encoder_attention_heads": 3, "decoder_attention_heads": 3},
}
ROWS = [
    {"source": "abcd ab a", "target": "cdcd b"},
    {"source": "zebra", "target": "q"},
    {"source": "a b ab cd abcd x y z", "target": "ab ab ab ab"},
]


def imported(folder: Path, name: str, **changes: Any) -> tuple[Any, Generalist]:
    theirs = save_bart(folder / "theirs", **{**VARIATIONS[name], **changes})
    import_run(folder / "theirs", folder / "ours")
    return theirs, Generalist.from_pretrained(folder / "ours")


@pytest.mark.parametrize("name", VARIATIONS)
@torch.no_grad()
def test_logits_are_equal(name: str, tmp_path: Path) -> None:
    theirs, ours = imported(tmp_path, name)
    core = theirs.config
    for row in ROWS:
        read, written, found = our_logits(ours, row)
        assert read[0] == core.bos_token_id and read[-1] == core.eos_token_id
        assert written[0] == core.decoder_start_token_id
        expected = theirs(torch.tensor([read]), decoder_input_ids=torch.tensor([written])).logits[0]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def untied(folder: Path, sides: bool) -> BartForConditionalGeneration:
    """A BART whose head has a table of its own; ``sides``: written with tables of encoder and decoder, too."""
    theirs = save_bart(folder, tie_word_embeddings=False)
    for side in (theirs.model.encoder, theirs.model.decoder):
        side.embed_tokens.weight = theirs.model.shared.weight
    state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    for name in bart_names.SIDE_TABLES if not sides else (bart_names.TABLE,):
        state[name] += 1.0
    kept = (
        state
        if sides
        else {name: part for name, part in state.items() if name not in bart_names.SIDE_TABLES}
    )
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return theirs


@pytest.mark.parametrize("sides", [True, False], ids=["three tables", "one table"])
@torch.no_grad()
def test_a_head_with_a_table_of_its_own(sides: bool, tmp_path: Path) -> None:
    """Where encoder and decoder have tables, nothing reads the shared one: here it holds other numbers."""
    theirs = untied(tmp_path / "theirs", sides)
    assert not theirs.lm_head.weight.equal(theirs.model.shared.weight)
    import_run(tmp_path / "theirs", tmp_path / "ours")
    ours = Generalist.from_pretrained(tmp_path / "ours")
    for row in ROWS:
        read, written, found = our_logits(ours, row)
        expected = theirs(torch.tensor([read]), decoder_input_ids=torch.tensor([written])).logits[0]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    export_run(tmp_path / "ours", tmp_path / "back", "hf-bart")
    first, back = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "back"))
    assert first.keys() == back.keys() and all(first[name].equal(back[name]) for name in first)


@pytest.mark.parametrize("tied", [True, False])
def test_two_token_tables_are_refused_with_a_way_out(tied: bool, tmp_path: Path) -> None:
    theirs = save_bart(tmp_path / "theirs", tie_word_embeddings=tied)
    state = {name: tensor.clone() for name, tensor in theirs.state_dict().items()}
    state[bart_names.SIDE_TABLES[1]] += 1.0
    save_file(state, tmp_path / "theirs" / "model.safetensors", metadata={"format": "pt"})
    told = r"differ, but a model here has one token table for encoder and decoder; train it there with one for both"
    with pytest.raises(CheckpointError, match=told) as caught:
        import_run(tmp_path / "theirs", tmp_path / "ours")
    assert len(str(caught.value)) < 400 and not (tmp_path / "ours").exists()


@pytest.mark.parametrize("half", [False, True])
def test_of_projections_that_are_one_here_those_that_are_there_are_taken(
    half: bool, tmp_path: Path
) -> None:
    """Keys without a bias are allowed to be missing; queries and values have theirs all the same."""
    save_bart(tmp_path / "theirs")
    file = tmp_path / "theirs" / "model.safetensors"
    state = load_file(file)
    attention = "model.encoder.layers.0.self_attn"
    del state[f"{attention}.k_proj.bias"]
    if half:
        state[f"{attention}.q_proj.bias"] = state[f"{attention}.q_proj.bias"].half()
    save_file(state, file, metadata={"format": "pt"})
    report = import_run(tmp_path / "theirs", tmp_path / "ours", allow=[r"k_proj\.bias$"])
    assert report.allowed == (f"missing: {attention}.k_proj.bias",)
    export_run(tmp_path / "ours", tmp_path / "back", "hf-bart")
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert back.keys() - state.keys() == {f"{attention}.k_proj.bias"}
    assert all(back[name].equal(tensor) for name, tensor in state.items())


@torch.no_grad()
def test_text_becomes_the_tokens_of_its_own_tokenizer(tmp_path: Path) -> None:
    from transformers import BartTokenizer

    _, ours = imported(tmp_path, "plain")
    tokenizer = BartTokenizer.from_pretrained(tmp_path / "theirs")
    for row in ROWS:
        read, _, _ = our_logits(ours, row)
        assert read == tokenizer(row["source"]).input_ids


INFILLING = [
    "ab <mask> cd",
    "<mask>",
    "a<mask>b <mask>",
    "ab</s> cd <s>a",
    "x <pad> y",
    "<unk><mask>",
    "<Mask> <masks",
]


@pytest.mark.parametrize("slot", ["[TEXT:source,specials]", "[TEXT:source]"])
@torch.no_grad()
def test_special_tokens_are_read_only_where_the_slot_says_so(slot: str, tmp_path: Path) -> None:
    """The published BARTs' mask takes the blanks before it."""
    from transformers import AddedToken, BartTokenizer

    save_bart(tmp_path / "theirs")
    import_run(tmp_path / "theirs", tmp_path / "ours", instructions=[f"{slot} -> [TEXT:target]"])
    ours = Generalist.from_pretrained(tmp_path / "ours")
    mask = AddedToken("<mask>", lstrip=True, special=True)
    tokenizer = BartTokenizer.from_pretrained(tmp_path / "theirs", mask_token=mask)
    core = {tokenizer.convert_tokens_to_ids(word) for word in ("<s>", "<pad>", "</s>", "<mask>")}
    for text in INFILLING:
        read, _, _ = our_logits(ours, {"source": text, "target": "a"})
        if "specials" in slot:
            assert read == tokenizer(text).input_ids, text
        else:
            assert not core & set(read[1:-1]), text


SEARCHES = [
    {"num_beams": 5, "max_length": 12},
    {"num_beams": 5, "max_length": 14, "early_stopping": True},
    {"num_beams": 5, "max_length": 16, "length_penalty": 2.0},
    {"num_beams": 5, "max_length": 16, "length_penalty": 0.2, "early_stopping": True},
    {"num_beams": 5, "max_length": 14, "no_repeat_ngram_size": 2},
    {"num_beams": 5, "max_length": 14, "no_repeat_ngram_size": 3, "length_penalty": 1.5},
    {"num_beams": 5, "max_length": 14, "length_penalty": 3.0, "early_stopping": True},
    {"num_beams": 3, "max_length": 12, "min_length": 6},
    {"num_beams": 1, "max_length": 12},
]
MORE = [
    {"num_beams": 5, "max_length": 14, "length_penalty": 0.0},
    {"num_beams": 4, "max_length": 14, "early_stopping": "never"},
    {"num_beams": 4, "max_length": 14, "early_stopping": "never", "length_penalty": 2.5},
    {"num_beams": 4, "max_length": 14, "early_stopping": "never", "length_penalty": -1.0},
    {"num_beams": 3, "max_new_tokens": 9},
    {"num_beams": 3, "max_new_tokens": 12, "min_new_tokens": 8},
    {"num_beams": 1, "max_length": 16, "repetition_penalty": 1.7},
    {"num_beams": 4, "max_length": 16, "repetition_penalty": 2.0, "no_repeat_ngram_size": 3},
    {"num_beams": 1, "max_length": 14, "suppress_tokens": [5, 9, 20, 31]},
    {
        "num_beams": 4,
        "max_length": 14,
        "bad_words_ids": [[7], [31, 32], [5, 6, 7]],
        "suppress_tokens": [1, 3],
    },
]


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("forced", [None, 0], ids=["free", "forced"])
@torch.no_grad()
def test_a_search_finds_the_same_tokens(forced: int | None, seed: int, tmp_path: Path) -> None:
    begin = {"forced_bos_token_id": forced}
    theirs, ours = imported(tmp_path, "plain", seed=seed, generation=begin, init_std=0.3)
    stored = json.loads((tmp_path / "theirs" / "generation_config.json").read_text())
    ids = json.loads(ours.assembly.artifacts[ARTIFACT].files[DICTIONARY])["ids"]
    read = {row["source"]: torch.tensor([our_logits(ours, row)[0]]) for row in ROWS}
    usual = [
        theirs.generate(tokens, num_beams=4, max_length=16)[0].tolist()[3:]
        for tokens in read.values()
    ]
    pairs = {
        "num_beams": 4,
        "max_length": 16,
        "bad_words_ids": [text[at : at + 2] for text in usual for at in (0, 3)],
    }
    pairs["bad_words_ids"] = [words for words in pairs["bad_words_ids"] if len(words) == 2]
    for search in [*SEARCHES, *([*MORE, pairs] if seed == 1 else ())]:
        found = search_of(vars(theirs.config), {**stored, **search}, tmp_path)
        banned = [tuple(ids[token] for token in words) for words in found.banned]
        for row in ROWS:
            expected = theirs.generate(read[row["source"]], **search)[0].tolist()
            options = {"strategy": "greedy", **found.options, "banned_tokens": banned}
            assert answers(ours, row, options)[0] == inner(
                expected, theirs.generation_config, begin
            ), search


COMING = {
    "usual": {
        "num_beams": 5,
        "max_length": 10,
        "forced_eos_token_id": None,
        "no_repeat_ngram_size": 3,
    },
    "no length": {"num_beams": 3},
    "penalties": {
        "num_beams": 3,
        "max_new_tokens": 12,
        "length_penalty": 0.0,
        "repetition_penalty": 1.5,
    },
    "words": {
        "num_beams": 1,
        "max_length": 12,
        "bad_words_ids": [[9], [31, 32]],
        "suppress_tokens": [12, 20],
    },
    "never": {"num_beams": 4, "max_length": 12, "early_stopping": "never", "length_penalty": 2.0},
}


@pytest.mark.filterwarnings("ignore:Using the model-agnostic default `max_length`")
@pytest.mark.parametrize("name", COMING)
@torch.no_grad()
def test_the_settings_of_a_search_come_along(name: str, tmp_path: Path) -> None:
    search = COMING[name]
    theirs, ours = imported(tmp_path, "plain", generation=search, init_std=0.3)
    for row in ROWS:
        read, _, _ = our_logits(ours, row)
        expected = theirs.generate(torch.tensor([read]))[0].tolist()
        assert answers(ours, row, {})[0] == inner(expected, theirs.generation_config, search)


def test_settings_without_a_counterpart_are_told(tmp_path: Path) -> None:
    odd = {
        "encoder_no_repeat_ngram_size": 2,
        "typical_p": 0.5,
        "renormalize_logits": True,
        "num_beams": 2,
        "suppress_tokens": [2, 5],
        "do_sample": True,
    }
    save_bart(tmp_path / "theirs")
    (tmp_path / "theirs" / "generation_config.json").write_text(
        json.dumps({**odd, "eos_token_id": 2})
    )
    told = "\n".join(import_run(tmp_path / "theirs", tmp_path / "ours").left_out)
    for words in (
        "encoder_no_repeat_ngram_size=2",
        "typical_p=0.5",
        "renormalize_logits=True",
        "suppress_tokens of the end",
        "do_sample=True together with num_beams",
    ):
        assert f"generation setting {words}" in told


def inner(tokens: list[int], config: Any, search: dict[str, Any]) -> list[int]:
    """What was generated, without start, forced begin, end and padding."""
    tokens = tokens[2 if search.get("forced_bos_token_id") is not None else 1 :]
    return tokens[: tokens.index(config.eos_token_id)] if config.eos_token_id in tokens else tokens


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"encoder_ffn_dim": 20}, ("encoder_ffn_dim 20", "decoder_ffn_dim 24")),
        (
            {"decoder_attention_heads": 4},
            ("encoder_attention_heads 2", "decoder_attention_heads 4"),
        ),
        ({"activation_function": "tanh"}, ("tanh", "gelu")),
    ],
)
def test_what_ours_does_not_contain_is_refused(
    config: dict[str, Any], words: tuple[str, ...], tmp_path: Path
) -> None:
    save_bart(tmp_path / "theirs", **config)
    with pytest.raises(CheckpointError) as caught:
        import_run(tmp_path / "theirs", tmp_path / "ours")
    assert all(word in str(caught.value) for word in words)
    assert not (tmp_path / "ours").exists()


@torch.no_grad()
def test_a_folder_with_one_file_of_the_tokenizer(tmp_path: Path) -> None:
    """`tokenizer.json` alone, as newer versions of `transformers` write it; weights as PyTorch's own file."""
    from transformers import BartTokenizer

    theirs = save_bart(tmp_path / "theirs")
    BartTokenizer.from_pretrained(tmp_path / "theirs").save_pretrained(tmp_path / "tokenizer")
    for name in ("vocab.json", "merges.txt", "model.safetensors"):
        (tmp_path / "theirs" / name).unlink()
    (tmp_path / "tokenizer" / "tokenizer.json").rename(tmp_path / "theirs" / "tokenizer.json")
    torch.save(theirs.state_dict(), tmp_path / "theirs" / "pytorch_model.bin")
    import_run(tmp_path / "theirs", tmp_path / "ours")
    ours = Generalist.from_pretrained(tmp_path / "ours")
    read, written, found = our_logits(ours, ROWS[2])
    expected = theirs(torch.tensor([read]), decoder_input_ids=torch.tensor([written])).logits[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
