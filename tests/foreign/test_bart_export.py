"""Models as BARTs of Hugging Face: the way back, models of our own, and those that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BartForConditionalGeneration

from ofa_foreign.exporting import export_run
from ofa_foreign.importing import import_run
from ofacore.batching.collate import collate
from ofacore.checkpoint import CheckpointError
from ofacore.generalist.facade import Generalist
from ofacore.setup.task import Task
from tests.foreign.bart import save_bart

SIZES = {
    "hidden": 16,
    "ffn": 24,
    "heads": 2,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "max_positions": 30,
}
BART = {
    "positions": "untied",
    "entangle_positions": True,
    "attention_bias": False,
    "norm": "post",
    "qk_norm": False,
    "type_embedding": False,
    "layernorm_position": False,
}


MOVED = ("entangle_positions", "attention_bias", "layernorm_position")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no separator": {"separator": False, "target_start": "eos", "activation": "relu"},
    "from the table": {
        "options": {
            "positions/untied": {"entangled": True, "attention_bias": False, "layernorm": False}
        },
    },
    "scaled": {"scale_embedding": True, "target_start": "eos bos", "output_bias": True},
}


def saved(
    folder: Path, template: str = "[TEXT:source] -> [TEXT:target]", **model: Any
) -> Generalist:
    picture = np.zeros((16, 16, 3), dtype=np.uint8)
    rows = [
        {"source": "a b c ab", "target": "b a", "img": picture},
        {"source": "x y", "target": "y", "img": picture},
    ]
    made = Generalist.create([Task("t", template, train=rows)], **{**SIZES, **model})
    made.save(folder)
    return made


@pytest.mark.parametrize("shuffled", [False, True])
@torch.no_grad()
def test_there_and_back(shuffled: bool, tmp_path: Path) -> None:
    theirs = save_bart(tmp_path / "theirs", shuffled=shuffled)
    import_run(tmp_path / "theirs", tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "back", "hf-bart")
    again = BartForConditionalGeneration.from_pretrained(tmp_path / "back").eval()
    read, written = torch.tensor([[0, 7, 9, 12, 2]]), torch.tensor([[2, 0, 8, 5]])
    found, expected = (model(read, decoder_input_ids=written).logits for model in (again, theirs))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for name, tensor in theirs.state_dict().items():
        assert again.state_dict()[name].equal(tensor), name


def test_training_in_bf16_rounds_nothing_that_it_does_not_learn(tmp_path: Path) -> None:
    theirs = save_bart(tmp_path / "theirs").state_dict()
    import_run(
        tmp_path / "theirs", tmp_path / "run", instructions=["[TEXT:source] -> [TEXT:target]"]
    )
    ours = Generalist.from_pretrained(tmp_path / "run")
    rules = [{"pattern": "^(?!backbone.decoder)", "freeze": True}]
    rows = [{"source": "a b", "target": "c d"}] * 2
    ours.fit(
        1,
        out=tmp_path / "more",
        data={"imported": rows},
        samples=2,
        trackers=(),
        precision="bf16",
        optimizer={"name": "adamw", "rules": rules},
    )
    export_run(tmp_path / "more", tmp_path / "back", "hf-bart")
    back = BartForConditionalGeneration.from_pretrained(tmp_path / "back").state_dict()
    changed = {name for name, tensor in theirs.items() if not back[name].equal(tensor)}
    assert changed and all(name.startswith("model.decoder.layers.") for name in changed)
    matrices = [back[name] for name in changed if back[name].dim() > 1]
    assert not any(matrix.equal(matrix.bfloat16().float()) for matrix in matrices)


@pytest.mark.parametrize("name", OPTIONS)
@torch.no_grad()
def test_a_model_of_our_own_with_the_options_of_one(name: str, tmp_path: Path) -> None:
    older = {
        key: value
        for key, value in BART.items()
        if key not in MOVED or "options" not in OPTIONS[name]
    }
    ours = saved(tmp_path / "run", **older, **OPTIONS[name])
    export_run(tmp_path / "run", tmp_path / "out", "hf-bart")
    theirs = BartForConditionalGeneration.from_pretrained(tmp_path / "out").eval()
    row = {"source": "a b ab", "target": "b y"}
    example = ours.assembly.encoders["t"].encode(
        row, split="valid", rng=np.random.default_rng(1), row_id="0"
    )
    batch = collate([example])
    ours.model.eval()
    hidden, group = ours.model.hidden(batch), batch.terms[0]
    group.index = torch.arange(len(hidden.target))
    prediction = ours.model.predict(group, hidden)
    pieces = (example.source[0], example.target)
    read, written = (
        torch.cat([torch.from_numpy(piece.features["tokens"]) for piece in part])[None]
        for part in pieces
    )
    expected = theirs(read, decoder_input_ids=written).logits[0]
    heard = torch.tensor(
        [number for number in prediction.ids.tolist() if number not in ours.model.embedding.silent]
    )
    found = prediction.logits()[:, torch.searchsorted(prediction.ids, heard)]
    torch.testing.assert_close(found, expected[:, heard], atol=1e-5, rtol=1e-5)


def test_what_no_bart_has_is_all_listed(tmp_path: Path) -> None:
    saved(
        tmp_path / "run",
        "[IMAGE:img,adapter=image_patch_embed] [TEXT:source] -> [TEXT:target]",
        scale_fc=True,
    )
    with pytest.raises(CheckpointError) as caught:
        export_run(tmp_path / "run", tmp_path / "out", "hf-bart")
    message = str(caught.value)
    lines = (
        "model.positions is 'rotary'; a BART has 'untied'",
        "model.norm is 'pre'; a BART has 'post'",
        "model.scale_fc is True; a BART has False",
        "model.qk_norm is True",
        "adapter image_patch_embed",
    )
    assert [line for line in lines if line not in message] == []
    assert not (tmp_path / "out").exists()
