"""Prefix tuning in layers of transformers: keys and values in front of every attention, some for each task."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, DynamicCache, GPTNeoConfig, GPTNeoForCausalLM

from ofa_backbone_transformers.loading import cache_name
from ofa_foreign.exporting import export_run
from ofacore import Generalist, Task
from ofacore.batching.collate import collate
from ofacore.ground.errors import UserError

ROWS = [{"a": "the cat", "b": "on the mat"}, {"a": "a dog and a bird and the moon", "b": "sun"}]
TASKS = [Task(name, "[TEXT:a] -> [TEXT:b]", train=ROWS) for name in ("one.x", "two")]
LENGTH = 3


@torch.no_grad()
def made(folder, tasks=TASKS, per="task", **options):
    """A model whose prefixes matter."""
    named = {"name": "transformers", "path": str(folder)}
    prefix = {"length": LENGTH, "per": per}
    found = Generalist.create(tasks, backbone=named, prefix=prefix, **options)
    for name, parameter in found.model.named_parameters():
        if ".prefix." in name:
            generator = torch.Generator().manual_seed(sum(name.encode()))
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return found


def examples(model, names=("one.x", "two")):
    rng = np.random.default_rng(0)
    return [
        model.assembly.encoders[name].encode(row, split="test", rng=rng, row_id=f"{name}{number}")
        for number, row in enumerate(ROWS)
        for name in names
    ]


def losses(model, rows):
    return torch.cat([loss.values for _, loss in model.model(collate(rows, packing=True))])


@pytest.mark.parametrize("family", ["t5", "llama", "gemma2"])
def test_each_row_sees_its_own_tasks_keys(family, folder_of):
    model = made(folder_of(family))
    model.model.eval()
    rows = examples(model)
    together = losses(model, rows)
    alone = torch.cat([losses(model, [row]) for row in rows])
    assert torch.allclose(together, alone, atol=1e-4)
    assert not torch.allclose(alone[0::2], alone[1::2], atol=1e-2)


@pytest.mark.parametrize(("family", "per"), [("t5", "task"), ("llama", "all"), ("llama", "task")])
def test_steps_with_a_cache_give_what_steps_without_give(family, per, folder_of, monkeypatch):
    model = made(folder_of(family), per=per)
    asked = [("greedy", 1), ("beam", 3)]
    kept = [model.infer("two", ROWS, max_length=5, strategy=s, beam=width) for s, width in asked]
    monkeypatch.setattr("ofa_backbone_transformers.backbone.stepper_of", lambda *given: None)
    plain = [model.infer("two", ROWS, max_length=5, strategy=s, beam=width) for s, width in asked]
    for one, other in zip(sum(kept, []), sum(plain, []), strict=True):
        assert one.text == other.text
        assert one.log_prob == pytest.approx(other.log_prob, abs=1e-4)


@torch.no_grad()
def test_keys_stand_in_front_as_in_a_cache_of_transformers(folder_of):
    model = made(folder_of("llama"), TASKS[:1], per="all")
    found = losses(model, examples(model, ["one.x"])[:1])
    theirs, cache = AutoModelForCausalLM.from_pretrained(folder_of("llama")), DynamicCache()
    for number, layer in enumerate(model.model.backbone.model.decoder.layers):
        ahead = layer.self_attn.prefix(1)
        cache.update(ahead.keys, ahead.values, number)
    known = Tokenizer.from_file(str(folder_of("llama") / "tokenizer.json"))
    source = known.encode(ROWS[0]["a"]).ids
    target = [*known.encode(ROWS[0]["b"], add_special_tokens=False).ids, theirs.config.eos_token_id]
    ids = torch.tensor([[*source, *target]])
    places = torch.arange(ids.shape[1])[None]
    given = {cache_name(theirs): cache, "position_ids": places}
    logits = theirs(ids, **given).logits[0, len(source) - 1 : -1]
    wanted = torch.nn.functional.cross_entropy(logits, ids[0, len(source) :], reduction="sum")
    assert torch.allclose(found, wanted, atol=1e-4)


@torch.no_grad()
def test_a_bias_by_distance_does_not_reach_the_keys_in_front(folder_of):
    model = made(folder_of("t5"), TASKS[:1], per="all")
    layer = model.model.eval().backbone.model.encoder.block[0].layer[0].SelfAttention
    states = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
    q, k, v = (part(states).view(5, 4, 8).transpose(0, 1) for part in (layer.q, layer.k, layer.v))
    ahead, bias = layer.prefix(1), layer.compute_bias(5, 5)[0]
    scores = torch.cat([q @ ahead.keys[0].mT, q @ k.mT + bias], dim=-1)
    mixed = scores.softmax(-1) @ torch.cat([ahead.values[0], v], dim=1)
    wanted = layer.o(mixed.transpose(0, 1).flatten(1))
    assert torch.allclose(layer(states)[0][0], wanted, atol=1e-5)


@pytest.mark.parametrize(("family", "again"), [("t5", False), ("llama", True)])
def test_keys_alone_are_trained(family, again, folder_of, tmp_path):
    model = made(folder_of(family), checkpoint_activations=again)
    before = {name: value.detach().clone() for name, value in model.model.state_dict().items()}
    model.fit(steps=2, samples=4, out=tmp_path / "run", precision="bf16")
    after = model.model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if ".prefix." in name}
    loaded = Generalist.from_pretrained(tmp_path / "run")
    rows = examples(model)
    assert torch.equal(losses(model, rows), losses(loaded, rows))
    with pytest.raises(UserError, match="its prefix .* choose --format ofa"):
        export_run(tmp_path / "run", tmp_path / "out", "transformers")


def test_attention_that_takes_no_keys_is_refused(folders, tmp_path, monkeypatch):
    def gpt_neo():
        types = [[["global"], 1]]
        sizes = {"hidden_size": 32, "num_layers": 1, "num_heads": 4, "vocab_size": folders.ROWS}
        ids = {"bos_token_id": folders.BOS, "eos_token_id": folders.EOS}
        return GPTNeoForCausalLM(GPTNeoConfig(attention_types=types, **sizes, **ids)), (
            False,
            False,
        )

    monkeypatch.setitem(folders.FAMILIES, "gpt_neo", gpt_neo)
    folder = folders.save("gpt_neo", tmp_path / "folder")
    with pytest.raises(UserError, match=r"a gpt_neo has attention .* slot \[PROMPT:p,length=8\]"):
        made(folder, TASKS[:1])
