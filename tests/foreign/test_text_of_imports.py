"""Texts of imported models: each token finds its row by name, whatever stands where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers

from ofa_foreign.importing import import_run
from ofacore.generalist.facade import Generalist
from ofacore.setup.task import Task
from tests.foreign.computed import our_logits
from tests.foreign.ofasys_file import write_checkpoint
from tests.foreign.ofasys_state import SETTINGS, random_state
from tests.foreign.reference import Piece, Reference

PIECES = ["[UNK]", "[CLS]", *"今天气很好吗是的不", "ok", "##ay", "o"]
SENTENCES = [("今天天气好吗", "很好"), ("okay", "不是的")]
SIZES: dict[str, Any] = {
    "hidden": 16,
    "ffn": 24,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}


def pieces_of(text: str) -> list[str]:
    return ["ok", "##ay"] if text == "okay" else list(text)


@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_chinese_word_pieces_in_any_order(seed: int, tmp_path: Path) -> None:
    order = torch.randperm(len(PIECES), generator=torch.Generator().manual_seed(seed)).tolist()
    names = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        *(f"<text>_{PIECES[n]}" for n in order),
        "<mask>",
        "<bin>_0",
    ]
    places = {name: row for row, name in enumerate(names)}
    state = random_state(len(names), seed)
    write_checkpoint(tmp_path / "a.pt", state, SETTINGS, places)
    (tmp_path / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES), encoding="utf-8")
    import_run(tmp_path / "a.pt", tmp_path / "run")
    ours = Generalist.from_pretrained(tmp_path / "run")
    for source, target in SENTENCES:
        read = [0, *(places[f"<text>_{piece}"] for piece in pieces_of(source)), 2]
        written = [0, *(places[f"<text>_{piece}"] for piece in pieces_of(target))]
        found = our_logits(ours, {"source": source, "target": target})
        assert found[:2] == (read, written)
        expected = Reference(state).logits(
            [Piece("text", torch.tensor(read))], torch.tensor(written)
        )
        torch.testing.assert_close(found[2], expected, atol=1e-5, rtol=1e-5)


def chinese(folder: Path) -> dict[str, str]:
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in PIECES), encoding="utf-8")
    return {"tokenizer": "bert_cn", "path": str(folder)}


def hugging_face(folder: Path) -> dict[str, str]:
    tokenizer = Tokenizer(
        models.WordLevel({piece: row for row, piece in enumerate(PIECES)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.save(str(folder / "tokenizer.json"))
    return {"tokenizer": "hf", "path": str(folder)}


@pytest.mark.parametrize("files", [chinese, hugging_face])
@pytest.mark.usefixtures("bf16_units")
def test_a_model_learns_with_a_tokenizer_from_files(files: Any, tmp_path: Path) -> None:
    """The files are not needed again: the model keeps its tokenizer."""
    (tmp_path / "files").mkdir()
    options = files(tmp_path / "files")
    rows = [{"a": "今天", "b": "很好"}, {"a": "好吗", "b": "是的"}] * 4
    model = Generalist.create(
        [Task("t", "[TEXT:a] -> [TEXT:b]", train=rows)], **SIZES, preprocessors={"text": options}
    )
    model.fit(steps=2, out=tmp_path / "run")
    model.save(tmp_path / "saved")
    for file in (tmp_path / "files").iterdir():
        file.unlink()
    again = Generalist.from_pretrained(tmp_path / "saved")
    text = again.assembly.preprocessors["text"]
    first = model.assembly.preprocessors["text"]
    assert text._tokens.encode("今天").tolist() == first._tokens.encode("今天").tolist()
    assert len(text._range) == len(PIECES)


def test_bare_numbers_without_the_bpe_are_names(tmp_path: Path) -> None:
    """OFA's file without GPT-2's: tokens can be given by their numbers."""
    from ofa_modality_text.foreign import foreign_names, import_tokenizer, origin

    names = ["", "13", "262", "7", "madeupword0000", "<mask>"]
    artifact = import_tokenizer(tmp_path, names)
    assert foreign_names(artifact, 3) == [("7",), ("13",), ("262",)]
    assert origin(artifact)["names"] == ["7", "13", "262"]
