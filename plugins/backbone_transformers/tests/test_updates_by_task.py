"""Low-rank updates by task in layers of transformers: in a mixed batch each sample gets its own task's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM

from ofa_foreign.exporting import export_run
from ofacore import Generalist, Task
from ofacore.batching.collate import collate
from ofacore.evaluation.forced import reference_log_probs
from ofacore.ground.errors import UserError

ROWS = [{"a": "the cat", "b": "on the mat"}, {"a": "a dog and a bird and the moon", "b": "sun"}]
TASKS = [Task(name, "[TEXT:a] -> [TEXT:b]", train=ROWS) for name in ("one.x", "two")]
LORA = {"rank": 2, "per": "task", "targets": ["backbone"]}


@torch.no_grad()
def made(folder, tasks=TASKS, **options):
    """A model whose updates matter."""
    named = {"name": "transformers", "path": str(folder)}
    found = Generalist.create(tasks, backbone=named, lora=LORA, **options)
    for name, parameter in found.model.named_parameters():
        if ".low_rank." in name:
            generator = torch.Generator().manual_seed(sum(name.encode()))
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
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


@pytest.mark.parametrize("family", ["t5", "llama"])
def test_a_mixed_batch_equals_one_sample_after_the_other(family, folder_of):
    model = made(folder_of(family))
    model.model.eval()
    rows = examples(model)
    together = losses(model, rows)
    alone = torch.cat([losses(model, [row]) for row in rows])
    assert torch.allclose(together, alone, atol=1e-4)
    assert not torch.allclose(alone[0::2], alone[1::2], atol=1e-2)
    told = {name: model.infer(name, ROWS[0], max_length=4) for name in ("two", "one.x")}
    for name, answer in told.items():
        encoder = model.assembly.encoder(model.plan(name))
        given = [{**ROWS[0], "b": answer.text}]
        assert len(reference_log_probs(model.model, encoder, given, "b")) == 1
    assert told["two"].log_prob != told["one.x"].log_prob
    assert model.infer("one.x", ROWS[0], max_length=4).log_prob == told["one.x"].log_prob


def test_gradients_are_recomputed_for_the_rows_of_each_group(folder_of):
    found = []
    for again in (False, True):
        model = made(folder_of("llama"), checkpoint_activations=again)
        model.model.train()
        losses(model, examples(model)).sum().backward()
        named = model.model.named_parameters()
        found.append({name: p.grad for name, p in named if p.grad is not None})
    assert found[0].keys() == found[1].keys() and all(".low_rank." in name for name in found[0])
    assert all(torch.allclose(found[0][n], found[1][n], atol=1e-3) for n in found[0])


def test_the_update_of_one_task_is_merged_into_the_folder(folder_of, tmp_path):
    model = made(folder_of("t5"), TASKS[:1])
    before = {name: value.detach().clone() for name, value in model.model.named_parameters()}
    model.fit(steps=1, samples=2, out=tmp_path / "run", precision="bf16")
    changed = {n for n, p in model.model.named_parameters() if not torch.equal(p, before[n])}
    assert changed and all(".low_rank.each.one%2Ex." in name for name in changed)
    again = Generalist.from_pretrained(tmp_path / "run")
    rows = examples(model, ["one.x"])
    assert torch.equal(losses(model, rows), losses(again, rows))
    out = export_run(tmp_path / "run", tmp_path / "out", "transformers")
    named = {"name": "transformers", "path": str(out)}
    merged = Generalist.create(TASKS[:1], backbone=named)
    assert torch.allclose(losses(merged, rows), losses(model, rows), atol=1e-4)
    assert AutoModelForSeq2SeqLM.from_pretrained(out).config.model_type == "t5"


def test_what_layers_have_no_place_for_is_refused(folder_of):
    named = {"name": "transformers", "path": str(folder_of("t5"))}
    asked = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 4}
    with pytest.raises(UserError, match=r"PREFIX_TUNING learns what .* slot \[PROMPT:p,length=8\]"):
        Generalist.create(TASKS[:1], backbone={**named, "peft": asked})
