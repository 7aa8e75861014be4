"""Inside, a model gives what it gives in transformers alone: logits, and tokens of greedy and of beam search."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from ofa_foreign.exporting import export_run
from ofacore import Generalist, Task
from ofacore.batching.collate import collate
from ofacore.ground.errors import UserError
from ofacore.protocols import EOS, SEP

ROWS = [
    {"a": "the cat sat", "b": "on the mat"},
    {"a": "red", "b": "sun and moon and a dog"},
    {"a": "a dog and a bird and the moon and so on", "b": "x"},
]
LONGEST = 7
LIKE_THEIRS = {"max_length": LONGEST, "early_stopping": False, "forced_end": "none"}


class Pair:
    """A model here, and the same in transformers."""

    def __init__(self, folder):
        task = Task("t", "[TEXT:a] -> [TEXT:b]", train=ROWS)
        named = {"name": "transformers", "path": str(folder)}
        self.ours = Generalist.create([task], backbone=named)
        self.encodes = self.ours.assembly.config.model.encoder_layers > 0
        kind = AutoModelForSeq2SeqLM if self.encodes else AutoModelForCausalLM
        self.theirs = kind.from_pretrained(folder).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    @torch.no_grad()
    def our_log_probs(self):
        """Of each row in one packed batch, without the core tokens, the end where theirs is."""
        encoder = self.ours.assembly.encoders["t"]
        rng = np.random.default_rng(0)
        rows = enumerate(ROWS)
        examples = [encoder.encode(r, split="test", rng=rng, row_id=str(n)) for n, r in rows]
        batch, model = collate(examples, packing=True), self.ours.model.eval()
        (group,) = batch.terms
        found = model.predict(group, model.hidden(batch)).log_probs
        theirs = found[:, 6:].clone()
        theirs[:, self.theirs.config.eos_token_id] = found[:, EOS]
        return theirs.split(group.lengths)

    @torch.no_grad()
    def their_log_probs(self, row):
        source = self.tokenizer.encode(row["a"]).ids
        target = self.tokenizer.encode(row["b"], add_special_tokens=False).ids
        if not self.encodes:
            logits = self.theirs(torch.tensor([source + target])).logits[0, len(source) - 1 :]
            return logits.log_softmax(-1)
        read = torch.tensor([[self.theirs.config.decoder_start_token_id, *target]])
        logits = self.theirs(torch.tensor([source]), decoder_input_ids=read).logits[0]
        return logits.log_softmax(-1)

    def their_text(self, row, beams):
        source = torch.tensor([self.tokenizer.encode(row["a"]).ids])
        mask, skipped = torch.ones_like(source), 1 if self.encodes else source.shape[1]
        ids = self.theirs.generate(
            source,
            attention_mask=mask,
            num_beams=beams,
            max_new_tokens=LONGEST,
            do_sample=False,
            early_stopping=False,
        )
        said = ids[0, skipped:].tolist()
        ends = np.atleast_1d(self.theirs.generation_config.eos_token_id)
        until = next((place for place, number in enumerate(said) if number in ends), len(said))
        return self.tokenizer.decode(said[:until], skip_special_tokens=True)


FAMILIES = ["t5", "bart", "marian", "gpt2", "llama", "qwen2", "gemma", "gemma2", "gemma3"]


@pytest.mark.parametrize("family", FAMILIES)
def test_equals_transformers(family, folder_of):
    pair = Pair(folder_of(family))
    for row, ours in zip(ROWS, pair.our_log_probs(), strict=True):
        assert torch.allclose(ours, pair.their_log_probs(row), rtol=1e-5, atol=1e-4)
    for strategy, beams in (("greedy", 1), ("beam", 3)):
        found = pair.ours.infer("t", ROWS, strategy=strategy, beam=3, **LIKE_THEIRS)
        theirs = [pair.their_text(row, beams) for row in ROWS]
        assert [one.text for one in found] == theirs
        assert any(theirs)


def test_every_end_ends_a_text(folder_of, tmp_path):
    plain = Pair(folder_of("llama"))
    source = torch.tensor([plain.tokenizer.encode(ROWS[0]["a"]).ids])
    ids = plain.theirs.generate(source, max_new_tokens=LONGEST, do_sample=False)[
        0, source.shape[1] :
    ]
    more = int(ids[2])
    folder = shutil.copytree(folder_of("llama"), tmp_path / "folder")
    file = folder / "generation_config.json"
    ends = {"eos_token_id": [plain.theirs.config.eos_token_id, more]}
    file.write_text(json.dumps({**json.loads(file.read_text()), **ends}))
    pair = Pair(folder)
    for strategy, beams in (("greedy", 1), ("beam", 3)):
        found = pair.ours.infer("t", ROWS, strategy=strategy, beam=3, **LIKE_THEIRS)
        assert [one.text for one in found] == [pair.their_text(row, beams) for row in ROWS]
    (cut,) = pair.ours.infer("t", ROWS[:1], strategy="greedy", **LIKE_THEIRS)
    assert cut.text == pair.tokenizer.decode(ids[: ids.tolist().index(more)].tolist())
    pair.ours.save(tmp_path / "saved")
    again = Generalist.from_pretrained(tmp_path / "saved")
    assert again.model.backbone.ends == [more]


def test_a_forced_first_token_stands_before_an_answer(folder_of, tmp_path):
    forced = 20
    folder = shutil.copytree(folder_of("t5"), tmp_path / "folder")
    file = folder / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "forced_bos_token_id": forced}))
    pair = Pair(folder)
    plain = Pair(folder_of("t5")).ours
    for strategy, beams in (("greedy", 1), ("beam", 3)):
        search = {"strategy": strategy, "beam": 3, **LIKE_THEIRS, "max_length": LONGEST - 1}
        found = [one.text for one in pair.ours.infer("t", ROWS, **search)]
        begin = pair.tokenizer.decode([forced])
        assert [begin + text for text in found] == [pair.their_text(row, beams) for row in ROWS]
        assert found != [one.text for one in plain.infer("t", ROWS, **search)]
    pair.ours.save(tmp_path / "saved")
    out = export_run(tmp_path / "saved", tmp_path / "out", "transformers")
    assert json.loads((out / "generation_config.json").read_text())["forced_bos_token_id"] == forced


def test_a_forced_bos_of_an_older_folder_counts(folder_of, tmp_path):
    folder = shutil.copytree(folder_of("bart"), tmp_path / "folder")
    (folder / "generation_config.json").unlink()
    file = folder / "config.json"
    content = json.loads(file.read_text())
    content["forced_bos_token_id"] = content["bos_token_id"]
    file.write_text(json.dumps(content))
    pair = Pair(folder)
    assert pair.ours.assembly.config.model.target_start == "eos bos"
    search = {**LIKE_THEIRS, "max_length": LONGEST - 1}
    found = pair.ours.infer("t", ROWS, strategy="greedy", **search)
    assert [one.text for one in found] == [pair.their_text(row, 1) for row in ROWS]


def test_one_token_cannot_begin_a_source_and_another_an_answer(folder_of):
    tokenizer = Tokenizer.from_file(str(folder_of("bart") / "tokenizer.json"))
    named = {"name": "transformers", "path": str(folder_of("bart"))}
    named["prompt"] = [tokenizer.id_to_token(270)]
    with pytest.raises(UserError, match="the token 2 in front of a text.*behind the token 270"):
        Generalist.create([Task("t", "[TEXT:a] -> [TEXT:b]", train=ROWS)], backbone=named)


def test_sep_counts_where_a_task_has_several_values(folder_of):
    line, named = "[TEXT:a] -> [TEXT:b] and [TEXT:a]", {"name": "transformers"}
    named["path"] = str(folder_of("llama"))
    several = Generalist.create([Task("t", line, train=ROWS)], backbone=named)
    assert SEP not in several.model.embedding.silent
