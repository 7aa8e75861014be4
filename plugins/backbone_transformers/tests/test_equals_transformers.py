"""Inside, a model gives what it gives in transformers alone: logits, and tokens of greedy and of beam search."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from ofacore import Generalist, Task
from ofacore.batching.collate import collate
from ofacore.protocols import EOS

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
        self.ours = Generalist.create([task], backbone=named, separator=False)
        self.encodes = self.ours.assembly.config.model.encoder_layers > 0
        kind = AutoModelForSeq2SeqLM if self.encodes else AutoModelForCausalLM
        self.theirs = kind.from_pretrained(folder).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    @torch.no_grad()
    def our_logits(self):
        """Of each row in one packed batch, without the core tokens, the end where theirs is."""
        encoder = self.ours.assembly.encoders["t"]
        rng = np.random.default_rng(0)
        rows = enumerate(ROWS)
        examples = [encoder.encode(r, split="test", rng=rng, row_id=str(n)) for n, r in rows]
        batch, model = collate(examples, packing=True), self.ours.model.eval()
        (group,) = batch.terms
        logits = model.predict(group, model.hidden(batch)).logits()
        theirs = logits[:, 6:].clone()
        theirs[:, self.theirs.config.eos_token_id] = logits[:, EOS]
        return theirs.split(group.lengths)

    @torch.no_grad()
    def their_logits(self, row):
        source = self.tokenizer.encode(row["a"]).ids
        target = self.tokenizer.encode(row["b"], add_special_tokens=False).ids
        if not self.encodes:
            return self.theirs(torch.tensor([source + target])).logits[0, len(source) - 1 :]
        read = torch.tensor([[self.theirs.config.decoder_start_token_id, *target]])
        return self.theirs(torch.tensor([source]), decoder_input_ids=read).logits[0]

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
        return self.tokenizer.decode(ids[0, skipped:].tolist(), skip_special_tokens=True)


@pytest.mark.parametrize("family", ["t5", "bart", "marian", "gpt2", "llama", "qwen2", "gemma"])
def test_equals_transformers(family, folder_of):
    pair = Pair(folder_of(family))
    for row, ours in zip(ROWS, pair.our_logits(), strict=True):
        assert torch.allclose(ours, pair.their_logits(row), rtol=1e-5, atol=1e-5)
    for strategy, beams in (("greedy", 1), ("beam", 3)):
        found = pair.ours.infer("t", ROWS, strategy=strategy, beam=3, **LIKE_THEIRS)
        theirs = [pair.their_text(row, beams) for row in ROWS]
        assert [one.text for one in found] == theirs
        assert any(theirs)
