"""Low-rank updates by task: in a mixed batch each position gets its own task's, in training and in decoding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ofa_foreign.exporting import export_run
from ofacore import Generalist, Task
from ofacore.config.model_section import LoraConfig
from ofacore.config.schema import RunConfig
from ofacore.evaluation.forced import reference_log_probs
from ofacore.generalist.low_rank import without_low_rank
from ofacore.model.universal import UniversalModel
from ofacore.plugin import UserError
from ofacore.setup.layout_check import layout_problems
from tests.model.layouts import NEEDS, collate, model, per_sample
from tests.model.test_batches import samples

BY_TASK = LoraConfig(rank=2, per="task")
LINE = "{} of [TEXT:a]? -> [TEXT:b]"
ROWS = [{"a": f"{x} {y}", "b": f"{y} {x}"} for x in ("red", "cat") for y in ("sun", "sea")]
SIZES = {
    "preset": "tiny",
    "hidden": 32,
    "ffn": 64,
    "heads": 2,
    "encoder_layers": 1,
    "decoder_layers": 1,
}


def updated(**options) -> UniversalModel:
    """A model whose updates are no longer zero."""
    return stirred(model(lora=BY_TASK, **options))


@torch.no_grad()
def stirred(built: UniversalModel) -> UniversalModel:
    for name, parameter in built.named_parameters():
        if ".low_rank." in name:
            generator = torch.Generator().manual_seed(sum(name.encode()))
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    return built.eval()


def states(built: UniversalModel, rows: list) -> list[torch.Tensor]:
    batch = collate(rows)
    return list(per_sample(batch, built.hidden(batch).target))


def test_a_mixed_batch_equals_one_sample_after_the_other():
    built, rows = updated(), samples()
    alone = [states(built, [row])[0] for row in rows]
    for found, expected in zip(states(built, rows), alone, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if ".low_rank.each.t." in name:
                parameter.mul_(-2)
    after = states(built, rows)
    changed = [not torch.equal(one, other) for one, other in zip(alone, after, strict=True)]
    near = [torch.allclose(one, other, atol=1e-5) for one, other in zip(alone, after, strict=True)]
    assert changed[::2] == [True] * 3 and near == [False, True] * 3


def test_gradients_reach_the_tasks_of_a_batch_alone_and_are_recomputed_alike():
    found = []
    for recompute in (False, True):
        built = updated(checkpoint_activations=recompute).train()
        batch = collate([row for row in samples() if row.task == "u"])
        built.hidden(batch).target.sum().backward()
        built.zero_grad()
        built.hidden(collate(samples())).target.sum().backward()
        built.hidden(batch).target.sum().backward()
        found.append({n: p.grad for n, p in built.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys() and all("low_rank" in name for name in found[0])
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], atol=1e-4, rtol=1e-3)
    built = updated().train()
    built.hidden(batch).target.sum().backward()
    learned = {name for name, p in built.named_parameters() if p.grad is not None}
    assert learned and all(".low_rank.each.u." in name for name in learned)
    assert any(".cross.key_value." in name for name in learned)


def test_a_task_without_positions_on_a_side_has_no_gradient_there():
    """Beside several others, as beside one alone: a gradient of zeros would decay weights."""
    needs = replace(NEEDS, tasks=(*NEEDS.tasks, "v"))
    built, batch = stirred(model(needs, lora=BY_TASK)).train(), collate(samples())
    layout = replace(batch.target.layout, tasks=(*batch.target.layout.tasks, "v"))
    built.hidden(
        replace(batch, target=replace(batch.target, layout=layout))
    ).target.sum().backward()
    learned = [name for name, p in built.named_parameters() if p.grad is not None]
    assert learned and not any(".low_rank.each.v." in name for name in learned)


@pytest.fixture(scope="module")
def generalist() -> Generalist:
    tasks = [Task(name, LINE.format(name), train=ROWS) for name in ("one.x", "two")]
    made = Generalist.create(tasks, lora={"rank": 2, "per": "task"}, dropout=0.0, **SIZES)
    stirred(made.model)
    return made


def test_decoding_uses_the_task_that_is_asked(generalist: Generalist):
    said = {}
    for name in generalist.tasks:
        said[name] = generalist.infer(name, ROWS, max_length=6)
    again = generalist.infer("one.x", ROWS, max_length=6)
    assert [out.log_prob for out in again] == [out.log_prob for out in said["one.x"]]
    assert said["one.x"][0].log_prob != said["two"][0].log_prob


def test_the_update_of_one_task_is_folded_into_the_weights(generalist: Generalist, tmp_path: Path):
    with pytest.raises(UserError, match=r"every task has .* one.x, two; leave one task"):
        without_low_rank(generalist)
    for per in ("task", "all"):
        lora = {"rank": 2, "per": per, "alpha": 3.0, "targets": ["backbone"]}
        one = Generalist.create(
            [Task("one.x", LINE.format("one"), train=ROWS)], lora=lora, dropout=0.0, **SIZES
        )
        stirred(one.model)
        plain = without_low_rank(one)
        assert not any("low_rank" in name for name in plain.model.portable_state())
        encoder = one.assembly.encoder(one.plan("one.x"))
        expected, found = (
            reference_log_probs(each.model, encoder, ROWS, "b") for each in (one, plain)
        )
        for one_row, other in zip(found, expected, strict=True):
            assert one_row == pytest.approx(other, abs=1e-4)
        decoded, same = (each.infer("one.x", ROWS[0], max_length=6) for each in (one, plain))
        assert decoded.log_prob == pytest.approx(same.log_prob, abs=1e-4)
        exported = export_run(one.save(tmp_path / per), tmp_path / f"{per}-out", "safetensors")
        assert (
            load_file(str(exported / "model.safetensors")).keys()
            == plain.model.portable_state().keys()
        )
        again = Generalist.from_pretrained(tmp_path / per)
        assert again.model.portable_state().keys() == one.model.portable_state().keys()


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="updates by task are those of the backbone"):
        model(lora=LoraConfig(rank=2, per="task", targets=("adapters",)))
    config = RunConfig(model={"lora": {"rank": 2, "per": "task"}}, parallel={"nproc": 2, "tp": 2})
    (problem,) = layout_problems(config, {})
    assert problem.path == "model.lora.per" and "parallel.tp" in problem.message
    two = RunConfig(model={"lora": {"rank": 2, "per": "task"}}, parallel={"nproc": 2})
    assert layout_problems(two, {}) == []
